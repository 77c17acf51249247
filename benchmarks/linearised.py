"""Linearised jumps of exact maps: weights and hops between wells and on a ring of known shares.

    python benchmarks/linearised.py

Writes ``benchmarks/results/linearised.json``. The laws live in the three dimensions that two atoms
have without their centre; the map is the solution along the path of three coefficients.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from record import environment

from molflow.analysis.weighting import effective_size, normalised
from molflow.exact.linearised import Gaussian, LinearisedChain
from molflow.exact.subspace import helmert
from molflow.files import write_json
from molflow.flow_map.base import FlowMap
from molflow.flow_map.centring import centre
from molflow.sde.gaussian_mixture import GaussianMixture
from molflow.sde.reverse_diffusion import ReverseDiffusion

RESULT = Path(__file__).parent / "results" / "linearised.json"
BASIS = torch.from_numpy(helmert(2))
ORDER, SUBSTEPS = 3, 6
STEPS = (1, 2, 4, 8)
SAMPLES, CHAINS, MOVES = 400, 150, 4


class Solved(FlowMap):
    """Shares, places and widths (K, 3) along orthonormal rows (K, 3, 3) of the subspace."""

    def __init__(self, shares, places, widths, rows):
        super().__init__()
        self.sde = ReverseDiffusion(10.0, 0.01, 1.0)
        self.basis = self.sde.basis(ORDER)
        # The centre's own directions, in which nothing ever moves, are the same in all parts.
        rest = torch.linalg.svd(BASIS)[0][:, 3:].T.expand(len(shares), 3, 6)
        axes = torch.cat([rows @ BASIS.T, rest], dim=1)
        widths = torch.cat([widths, torch.ones(len(shares), 3).double()], dim=1)
        self.law = GaussianMixture((places @ BASIS.T).unflatten(1, (2, 3)), widths, shares, axes)
        self.places, self.inner, self.rows = places, widths[:, :3], rows

    def mean(self, s, t, x, whitened):
        raise NotImplementedError

    def forward(self, s, t, x, increment):
        h = float(t[0] - s[0]) / SUBSTEPS
        z = increment.whitened()
        lift, half = math.exp(-2 * h), math.exp(-h)
        odd = torch.sqrt((2 * torch.arange(ORDER) + 1.0).double() / (h * SUBSTEPS))
        for step in range(SUBSTEPS):
            at = np.array([2 * (step + 0.5) / SUBSTEPS - 1])
            rates = odd * torch.from_numpy(np.polynomial.legendre.legvander(at, ORDER - 1)[0])
            sigma = self.sde.sigma(s + (step + 0.5) * h)
            kick = math.sqrt(2.0) * sigma[0] * h * (z[..., :ORDER] * rates).sum(-1)
            start = self.law.denoise(x, self.sde.sigma(s + step * h))
            middle = half * x + (1 - half) * start + kick / 2
            x = lift * x + (1 - lift) * self.law.denoise(middle, sigma) + kick
        return x

    def energy(self, x):
        away = (x.flatten(1) @ BASIS)[:, None] - self.places
        along = torch.einsum("nkj,kij->nki", away, self.rows)
        total = self.inner**2 + self.sde.sigma_min**2
        parts = -0.5 * (along**2 / total + torch.log(2 * math.pi * total)).sum(-1)
        return -torch.logsumexp(parts + torch.log(self.law.weights), 1).numpy()

    def right(self, x):
        return (x.flatten(1) @ BASIS)[:, 0].numpy() > 0.25

    def draw(self, n, generator):
        return centre(self.law.sample(n, generator))

    def isotropic(self, chain, k, x):
        """The ancestral jump with the denoiser where it begins."""
        high, low = chain.sigmas[k], chain.sigmas[k + 1]
        kept = (low / high) ** 2
        mean = kept * x + (1 - kept) * self.law.denoise(x, high)
        factor = low * math.sqrt(1 - kept) * torch.eye(3).double().expand(len(x), 3, 3)
        return Gaussian(mean.flatten(1) @ BASIS, factor, BASIS)


def wells() -> Solved:
    places = torch.tensor([[-1.0, 0, 0], [1.5, 0, 0]]).double()
    widths = torch.tensor([[0.35, 0.05, 0.05]] * 2).double()
    return Solved(
        torch.tensor([0.75, 0.25]).double(), places, widths, torch.eye(3).double().expand(2, 3, 3)
    )


def ring(count: int = 32) -> Solved:
    """Radius 1, width 0.03, and the left half three times as heavy."""
    angle = 2 * math.pi * torch.arange(count).double() / count
    zero = torch.zeros_like(angle)
    radial = torch.stack([angle.cos(), angle.sin(), zero], 1)
    tangent = torch.stack([-angle.sin(), angle.cos(), zero], 1)
    normal = torch.tensor([0.0, 0, 1]).double().expand(count, 3)
    widths = torch.tensor([[0.14, 0.03, 0.03]] * count).double()
    shares = torch.where(angle.cos() > 0, 1.0, 3.0).double()
    return Solved(shares, radial, widths, torch.stack([tangent, radial, normal], 1))


def measure(flow_map: Solved, steps: int, plain: bool) -> dict:
    duration = flow_map.sde.duration

    def chain(start: float) -> LinearisedChain:
        made = LinearisedChain(
            flow_map, np.linspace(start, duration, steps + 1), flow_map.energy
        )
        if plain:
            made.kernel = lambda k, x: flow_map.isotropic(made, k, x)
        return made

    exact = flow_map.draw(100_000, torch.Generator().manual_seed(7))
    variance = 100.0 + float(exact.square().flatten(1).sum(1).mean()) / 3
    x, log_weights = chain(0.0).sample(SAMPLES, 2, variance, torch.Generator().manual_seed(1))
    weights = normalised(log_weights)
    right = flow_map.right(x)
    share = float(weights[right].sum())
    generator = torch.Generator().manual_seed(2)
    moving, start = chain(float(flow_map.sde.time(2.0))), flow_map.draw(CHAINS, generator)
    accepted, hops, y = [], [], start
    for _ in range(MOVES):
        before = flow_map.right(y)
        y, taken = moving.move(y, generator)
        accepted.append(taken)
        hops.append(float(np.mean(flow_map.right(y) != before)))
    return {
        "ess": effective_size(SAMPLES, weights) / SAMPLES,
        "share": share,
        "share_error": float(np.sqrt(np.sum((weights * (right - share)) ** 2))),
        "share_exact": float(np.mean(flow_map.right(exact))),
        "mean_weight": float(np.exp(log_weights).mean()),
        "accepted": float(np.mean(accepted)),
        "hops_a_move": float(np.mean(hops)),
    }


def main() -> None:
    torch.set_num_threads(1)
    laws = {"wells": wells(), "ring": ring()}
    summary = {
        name: {
            kind: {str(steps): measure(law, steps, plain) for steps in STEPS}
            for kind, plain in (("linearised", False), ("isotropic", True))
        }
        for name, law in laws.items()
    }
    write_json(
        RESULT,
        {
            "summary": summary, "samples": SAMPLES, "chains": CHAINS, "moves": MOVES,
            "command": "python benchmarks/linearised.py", **environment(),
        },
    )  # fmt: skip
    print(f"Figures in {RESULT}.")


if __name__ == "__main__":
    main()
