"""Products of the irreps of an atom with spherical harmonics, channel by channel."""

from __future__ import annotations

import torch
from e3nn.o3 import Irrep, Irreps, wigner_3j
from torch import Tensor, nn


class ChannelProducts(nn.Module):
    """All products of a state with harmonics that are of a degree of the state.

    What `e3nn.o3.TensorProduct` computes with "uvu" instructions (each channel by itself, in
    component normalisation), as one matrix product for each degree of the state. e3nn's own
    object makes its code when it is built, and a copy of it has other buffers than the original:
    averages of weights, which begin as copies, could not be saved and loaded. A product of every
    channel with every other would cost ten times as much.

    Parameters
    ----------
    irreps : Irreps
        Of the state, all even, in the order of their degrees, each degree once, 3 at most.
    harmonics : Irreps
        Each degree once, one channel.

    Attributes
    ----------
    out : Irreps
        Of the result.
    weights : int
        Number of weights per product: one for each channel of each path, path after path.
    """

    def __init__(self, irreps: Irreps, harmonics: Irreps):
        super().__init__()
        # Plain numbers: the compiler cannot look into e3nn's irreps.
        self.sizes = [(mul, ir.dim) for mul, ir in irreps]
        self.paths: list[list[int]] = []
        found: dict[int, int] = {}
        for number, (mul, left) in enumerate(irreps):
            parts, degrees = [], []
            for (_, right), place in zip(harmonics, harmonics.slices(), strict=True):
                for result in left * right:
                    if result not in irreps:
                        continue
                    part = torch.zeros(left.dim, harmonics.dim, result.dim)
                    coupling = wigner_3j(left.l, right.l, result.l, dtype=part.dtype)
                    part[:, place] = result.dim**0.5 * coupling
                    parts.append(part)
                    degrees.append(result.l)
                    found[result.l] = found.get(result.l, 0) + mul
            # (harmonics, left x results), so that the harmonics are contracted first.
            coupling = torch.cat(parts, dim=-1).transpose(0, 1).flatten(1)
            self.register_buffer(f"coupling{number}", coupling, persistent=False)
            self.paths.append(degrees)
        self.out = Irreps([(mul, Irrep(degree, 1)) for degree, mul in sorted(found.items())])
        self.weights = sum(
            mul * len(degrees) for (mul, _), degrees in zip(self.sizes, self.paths, strict=True)
        )

    def forward(self, state: Tensor, harmonics: Tensor, weights: Tensor) -> list[Tensor]:
        """Return the products of (E, irreps.dim), (E, harmonics.dim) and (E, weights).

        In parts, (E, ...), which make up `out` one after the other: joining them before they are
        summed over edges would copy the largest arrays there are.
        """
        parts: list[list[Tensor]] = [[] for _ in range(4)]
        # Split, not sliced: the derivative of a slice fills a whole array with zeros.
        states = state.split([mul * dim for mul, dim in self.sizes], dim=-1)
        rows = list(zip(self.sizes, self.paths, strict=True))
        of_path = weights.split([mul for (mul, _), degrees in rows for _ in degrees], dim=-1)
        of_path = iter([weight.unsqueeze(-1) for weight in of_path])
        for number, ((mul, dim), degrees) in enumerate(rows):
            left, sizes = states[number].unflatten(-1, (mul, dim)), [2 * k + 1 for k in degrees]
            matrix = (harmonics @ getattr(self, f"coupling{number}")).unflatten(-1, (dim, -1))
            if dim == 1:
                # Of scalars, smaller than their products, the weight is taken first.
                products = [left * next(of_path) * part for part in matrix.split(sizes, dim=-1)]
            else:
                products = [part * next(of_path) for part in (left @ matrix).split(sizes, dim=-1)]
            for degree, product in zip(degrees, products, strict=True):
                parts[degree].append(product.flatten(1))
        return [part for of_degree in parts for part in of_degree]
