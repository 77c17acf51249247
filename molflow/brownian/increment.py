"""The one object for the noise of a step."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.exponential import projection, residual_factor
from molflow.devices import like, upload
from molflow.errors import MolflowError


@dataclass(frozen=True)
class Increment:
    """What a Brownian path did on one step, as the features of a `Basis`.

    Parameters
    ----------
    basis : Basis
    h : Tensor () or (B,)
        Length of the step in the walking direction, not negative.
    features : Tensor (B, *shape, size)
        I^0..I^{order-1}, F_p, not whitened. For molecules shape is (atoms, 3).

    Notes
    -----
    On a short step F_p is almost a combination of the coefficients, and the rest, which is one
    of the whitened numbers, drowns in the rounding of `features`. Increments made by
    `from_whitened`, `join`, `split` and `BrownianPath` therefore keep the whitened numbers too.
    """

    basis: Basis
    h: Tensor
    features: Tensor
    _whitened: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    _factor: Tensor | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_shapes(self.basis, self.h, self.features)

    @property
    def coefficients(self) -> Tensor:
        """I^0..I^{order-1}; (B, *shape, order)."""
        return self.features[..., : self.basis.order]

    @property
    def exponentials(self) -> Tensor:
        """F_p for each rate; (B, *shape, number of rates)."""
        return self.features[..., self.basis.order :]

    @property
    def increment(self) -> Tensor:
        """W_t - W_s = I^0; (B, *shape)."""
        return self.features[..., 0]

    def whitened(self) -> Tensor:
        """Return z with features = L z, independent N(0, 1); (B, *shape, size).

        Where it has to be recovered from the features, the rest of F_p is damped to zero once
        it is smaller than their rounding, so the result stays bounded as h goes to 0.
        """
        if self._whitened is not None:
            return self._whitened
        h = upload(self.h.double(), self.features.device)
        h = h.clamp(min=torch.finfo(torch.float32).tiny)
        order, raw = self.basis.order, self.features.double()
        coefficients = raw[..., :order]
        z = coefficients / self._over_batch(self.basis.legendre_scales(h))
        if self.basis.rates:
            q = self.basis.scaled_steps(h)
            rest = raw[..., order:] - apply_matrix(projection(q, order), coefficients)
            rest = rest / self._over_batch(torch.sqrt(h)[..., None])
            z = torch.cat([z, self._solve_rest(*residual_factor(q, order), rest)], dim=-1)
        return z.to(self.features.dtype)

    def factor(self) -> Tensor:
        """Return L of features = L z, `Basis.cholesky` in float64."""
        return self.basis.cholesky(self.h.double()) if self._factor is None else self._factor

    def with_whitened(self, z: Tensor) -> Increment:
        """Return the increment over the same step whose whitened features are z."""
        return Increment.from_whitened(self.basis, self.h, z, self._factor)

    def on(self, device: torch.device | str) -> Increment:
        """Return the increment with its features on a device.

        They are made there of the same whitened numbers. A length of shape () stays on the
        processor, where all that follows from it alone is computed.
        """
        if self.features.device == torch.device(device):
            return self
        z = upload(self.whitened(), device)
        h = self.h if self.h.ndim == 0 else upload(self.h, device)
        return Increment.from_whitened(self.basis, h, z, self._factor)

    def _solve_rest(self, size: Tensor, factor: Tensor, rest: Tensor) -> Tensor:
        factor = size[..., None] * factor
        rounding = 4.0 * torch.finfo(self.features.dtype).eps
        rows = self._over_batch(factor.flatten(-2)).unflatten(-1, factor.shape[-2:])
        solved: list[Tensor] = []
        for i in range(factor.shape[-1]):
            value = rest[..., i]
            for j, known in enumerate(solved):
                value = value - rows[..., i, j] * known
            pivot = rows[..., i, i]
            solved.append(value * pivot / (pivot * pivot + rounding * rounding))
        return torch.stack(solved, dim=-1)

    def _over_batch(self, values: Tensor) -> Tensor:
        """Give (k,) or (B, k) the axes of the features."""
        if self.h.ndim == 0:
            return values
        return values.reshape(values.shape[0], *[1] * (self.features.ndim - 2), values.shape[-1])

    @staticmethod
    def from_whitened(
        basis: Basis, h: Tensor, z: Tensor, factor: Tensor | None = None
    ) -> Increment:
        """Return the increment whose whitened features are z.

        Parameters
        ----------
        basis : Basis
        h : Tensor () or (B,)
        z : Tensor (B, *shape, size)
            Independent standard normal numbers for a Brownian increment.
        factor : Tensor (size, size) or (B, size, size), optional
            `Basis.cholesky` of h in float64, where it is known.
        """
        check_shapes(basis, h, z)
        known = basis.cholesky(h.double()) if factor is None else factor
        found = _remember(basis, h, apply_matrix(known, z), z)
        object.__setattr__(found, "_factor", factor)
        return found

    def rotate(self, rotation: Tensor) -> Increment:
        """Rotate every feature as a vector: features (B, atoms, 3, size), rotation (3, 3) or
        (B, 3, 3)."""
        if self.features.ndim != 4 or self.features.shape[2] != 3:
            raise MolflowError(
                f"features have shape {tuple(self.features.shape)}: only (B, atoms, 3, size) "
                "can be rotated."
            )
        if rotation.shape not in ((3, 3), (len(self.features), 3, 3)):
            raise MolflowError(
                f"rotation has shape {tuple(rotation.shape)} for a batch of {len(self.features)}: "
                "give one matrix (3, 3), or one for each member of the batch."
            )
        matrix = rotation[:, None] if rotation.ndim == 3 else rotation
        matrix = matrix.to(self.features.dtype)
        return _remember(self.basis, self.h, matrix @ self.features, matrix @ self.whitened())


def sample_increment(
    basis: Basis,
    h: Tensor | float,
    shape: tuple[int, ...],
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Increment:
    """Draw an increment; `shape` is (B, *shape) and `generator` lives on `device`."""
    h = torch.as_tensor(h, dtype=dtype, device=device)
    z = torch.randn(*shape, basis.size, generator=generator, dtype=dtype, device=device)
    return Increment.from_whitened(basis, h, z)


def apply_matrix(matrix: Tensor, values: Tensor) -> Tensor:
    """Apply (r, c) or (B, r, c), taken to the dtype and device of the values, to the last axis of
    (B, *shape, c)."""
    matrix = like(matrix, values)
    if matrix.ndim == 2:
        return values @ matrix.mT
    flat = values.reshape(values.shape[0], -1, values.shape[-1]) @ matrix.mT
    return flat.reshape(*values.shape[:-1], matrix.shape[-2])


def check_shapes(basis: Basis, h: Tensor, features: Tensor) -> None:
    """Raise `MolflowError` unless h >= 0 is () or (B,) and features are (B, *shape, size)."""
    if features.ndim < 2 or features.shape[-1] != basis.size:
        raise MolflowError(
            f"The features have shape {tuple(features.shape)}: the last axis must hold the "
            f"{basis.size} numbers of {basis}, the first the batch."
        )
    if h.ndim > 1 or (h.ndim == 1 and h.shape[0] != features.shape[0]):
        raise MolflowError(
            f"h has shape {tuple(h.shape)} for a batch of {features.shape[0]}: "
            "give one length, or one for each member of the batch."
        )
    check_lengths(h)


def check_lengths(h: Tensor, positive: bool = False) -> None:
    """Raise `MolflowError` if a step has negative length, or none where it must have some.

    Only on the CPU and outside compiled code: an accelerator would have to be waited for.
    """
    if h.device.type != "cpu" or torch.compiler.is_compiling():
        return
    allowed = h > 0 if positive else h >= 0
    if not bool(allowed.all()):
        raise MolflowError(
            f"A step has length h = t - s = {float(h.min()):g}: t must "
            + ("come after s." if positive else "not come before s.")
        )


def _remember(basis: Basis, h: Tensor, features: Tensor, z: Tensor) -> Increment:
    increment = Increment(basis, h, features)
    object.__setattr__(increment, "_whitened", z)
    return increment
