"""Steps of a strong map made exactly Gaussian, and what is exact with them: weights and moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.exact.density import log_normal
from molflow.exact.steering import Energy
from molflow.exact.subspace import helmert
from molflow.flow_map.base import FlowMap
from molflow.sde.reverse_diffusion import ReverseDiffusion


@dataclass(frozen=True)
class Gaussian:
    """N(mean, L Lᵀ) of every state, in an orthonormal basis of the centred subspace.

    Attributes
    ----------
    mean : Tensor, (n, d)
    factor : Tensor, (n, d, d)
        L.
    basis : Tensor, (3 atoms, d)
    """

    mean: Tensor
    factor: Tensor
    basis: Tensor

    def draw(self, generator: torch.Generator) -> Tensor:
        """Return one state (n, atoms, 3) of each."""
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype)
        q = self.mean + (self.factor @ noise.to(self.mean.device).unsqueeze(-1)).squeeze(-1)
        return (q @ self.basis.T).unflatten(1, (-1, 3))

    def log_density(self, y: Tensor) -> Tensor:
        """Return ln of the density at states (n, atoms, 3)."""
        away = (y.flatten(1) @ self.basis - self.mean).unsqueeze(-1)
        white = torch.linalg.solve_triangular(self.factor, away, upper=False).squeeze(-1)
        size = torch.log(self.factor.diagonal(dim1=1, dim2=2)).sum(1)
        whole = white.shape[1] * math.log(2 * math.pi)
        return -0.5 * (white.square().sum(1) + whole) - size


class LinearisedChain:
    r"""x_t = Φ(x_s, 0) + Σ_n J_n z_n in place of Φ(x_s, z), J_n = ∂Φ/∂z_n at 0, jump after jump.

    Exactly Gaussian given x_s, with a covariance Σ J_n J_nᵀ that knows how the map bends the path:
    stiff directions are narrow in it. So all densities of a chain of such jumps are known, and both
    what follows is exact whatever the map's errors are, for the law exp(−E) at the last time.
    Against the chain stands the noising by independent noise, q_f(x_s | x_t), which is the reversal
    of the map at η = 1: with another η both stay exact, and worth less the fewer the jumps.

    Parameters
    ----------
    flow_map : FlowMap
        Of a reverse diffusion, η > 0.
    times : sequence of float
        Ends of the jumps, from noise to the last.
    energy : callable
        −ln of the law wanted, up to a constant.

    Raises
    ------
    MolflowError
        If the map is not of a reverse diffusion, or η is 0.
    """

    def __init__(self, flow_map: FlowMap, times: Sequence[float], energy: Energy):
        sde = flow_map.sde
        if not isinstance(sde, ReverseDiffusion) or not sde.eta:
            raise MolflowError(
                "the map is not of a reverse diffusion with eta above 0: its jumps have no spread, "
                "and no density; for such maps there is the flow's (molflow sample --weights)."
            )
        self.flow_map, self.energy = flow_map, energy
        self.times = torch.tensor([float(time) for time in times], dtype=torch.float64)
        self.sigmas = [float(sde.sigma(time)) for time in self.times]

    @torch.no_grad()
    def kernel(self, k: int, x: Tensor) -> Gaussian:
        """Return the law of the k-th jump from states x (n, atoms, 3), one derivative a number."""
        basis = torch.from_numpy(helmert(x.shape[1])).to(x)
        s, t = (end.to(x.dtype).expand(len(x)) for end in self.times[k : k + 2])
        h = self.times[k + 1] - self.times[k]
        zero = self.flow_map.no_features(x)

        def end(z: Tensor) -> Tensor:
            made = Increment.from_whitened(self.flow_map.basis, h, z)
            return self.flow_map(s, t, x, made).flatten(1) @ basis

        columns = []
        for direction in basis.T.unflatten(1, (-1, 3)):
            for feature in range(zero.shape[-1]):
                along = torch.zeros_like(zero)
                along[..., feature] = direction
                mean, slope = torch.func.jvp(end, (zero,), (along,))[:2]
                columns.append(slope)
        jacobian = torch.stack(columns, dim=2)
        return Gaussian(mean, torch.linalg.cholesky(jacobian @ jacobian.mT), basis)

    @torch.no_grad()
    def sample(
        self, n: int, atoms: int, variance: float, generator: torch.Generator
    ) -> tuple[Tensor, np.ndarray]:
        """Return states at the last time, and ln of their weights.

        w = exp(−E(x_K)) Π q_f(x_k | x_{k+1}) / [N(x_0; 0, variance) Π g(x_{k+1} | x_k)], whose mean
        is the integral of exp(−E).
        """
        example = self.times if (p := next(self.flow_map.parameters(), None)) is None else p
        noise = torch.randn(n, atoms, 3, generator=generator, dtype=example.dtype)
        x = math.sqrt(variance) * (noise - noise.mean(1, keepdim=True)).to(example.device)
        found = -log_normal(x, variance)
        for k in range(len(self.times) - 1):
            law = self.kernel(k, x)
            y = law.draw(generator)
            found = found + self._noising(k, x, y) - law.log_density(y)
            x = y
        return x, found.cpu().numpy() - self.energy(x)

    @torch.no_grad()
    def move(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
        """Return states after a Metropolis move of each, and the share accepted.

        A path of noise from x to the first time, and a chain from there to x'. Accepted with
        π(x') q_f(path of x'| x') g(path of x) / [π(x) q_f(path of x | x) g(path of x')].
        """
        up = [x]
        for high, low in zip(self.sigmas[-2::-1], self.sigmas[:0:-1], strict=True):
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
            noise = (noise - noise.mean(1, keepdim=True)).to(x.device)
            up.append(up[-1] + math.sqrt(high**2 - low**2) * noise)
        old, new = up[::-1], [up[-1]]
        ratio = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for k in range(len(self.times) - 1):
            ratio += self.kernel(k, old[k]).log_density(old[k + 1])
            ratio -= self._noising(k, old[k], old[k + 1])
            law = self.kernel(k, new[k])
            new.append(law.draw(generator))
            ratio += self._noising(k, new[k], new[k + 1]) - law.log_density(new[k + 1])
        change = ratio.cpu().numpy() + self.energy(x) - self.energy(new[-1])
        lots = torch.rand(len(x), generator=generator, dtype=torch.float64).numpy()
        yes = np.log(lots) < change
        chosen = torch.from_numpy(yes).to(x.device).reshape(-1, 1, 1)
        return torch.where(chosen, new[-1], x), float(yes.mean())

    def _noising(self, k: int, noisy: Tensor, clean: Tensor) -> Tensor:
        variance = self.sigmas[k] ** 2 - self.sigmas[k + 1] ** 2
        return log_normal(noisy - clean, variance)
