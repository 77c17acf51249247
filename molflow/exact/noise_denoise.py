"""Metropolis moves by adding noise and taking it away, for a map's law times exp(-E)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.increment import Increment
from molflow.errors import MolflowError
from molflow.exact.steering import Energy
from molflow.flow_map.base import FlowMap
from molflow.flow_map.centring import centre
from molflow.sde.reverse_diffusion import ReverseDiffusion


class NoiseDenoise:
    r"""x → x_s = x + sqrt(σ_s² − σ_min²) n → x' by the map, accepted with min(1, exp(E − E')).

    With a map whose law at the end given x_s is the posterior p(x | x_s), the proposal is
    reversible with respect to p: p(x) q(x_s|x) p(x'|x_s) = p(x_s) p(x|x_s) p(x'|x_s) is the same
    both ways. So E alone decides, and the moves leave p exp(−E) as it is. Only the chain of η = 1
    is the reversal of the noising by independent noise; any other η leaves p as it is without E,
    but is not reversible, and with E ends at another law. `Steering` moves on Brownian paths
    instead and is right at every η.

    Parameters
    ----------
    flow_map : FlowMap
        Of a reverse diffusion of η = 1.
    times : sequence of float
        Ends of the jumps back, from the time to which is noised to the last.
    energy : callable
        E/kT of states.

    Raises
    ------
    MolflowError
        If η is not 1.
    """

    def __init__(self, flow_map: FlowMap, times: Sequence[float], energy: Energy):
        sde = flow_map.sde
        if not isinstance(sde, ReverseDiffusion) or sde.eta != 1.0:
            raise MolflowError(
                f"the map has eta {getattr(sde, 'eta', 'of none')}, and noising and denoising is "
                "reversible at eta = 1 alone: accepted by an energy, it would end at another law. "
                "Use molflow sample --reward, which is right at every eta."
            )
        self.flow_map, self.energy = flow_map, energy
        self.times = torch.tensor([float(time) for time in times], dtype=torch.float64)
        first, last = (float(sde.sigma(self.times[k])) for k in (0, -1))
        self.noise = (first**2 - last**2) ** 0.5

    def propose(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return states with noise and without again, (n, atoms, 3) centred."""
        basis = self.flow_map.basis
        y = x + self.noise * centre(self._normal(x, generator))
        for s, t in zip(self.times[:-1], self.times[1:], strict=True):
            z = torch.stack(
                [centre(self._normal(x, generator)) for _ in range(basis.size)], dim=-1
            )
            ends = (end.to(x.dtype).to(x.device).expand(len(x)) for end in (s, t))
            with torch.no_grad():
                y = self.flow_map(*ends, y, Increment.from_whitened(basis, t - s, z))
        return y

    def move(
        self, x: Tensor, energies: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, np.ndarray, float]:
        """Return states and their energies after one move of each, and the share accepted."""
        new = self.propose(x, generator)
        found = self.energy(new)
        lots = torch.rand(len(x), generator=generator, dtype=torch.float64).numpy()
        with np.errstate(invalid="ignore"):
            yes = np.log(lots) < np.where(np.isfinite(found), energies - found, -np.inf)
        chosen = torch.from_numpy(yes).to(x.device).reshape(-1, *[1] * (x.ndim - 1))
        return torch.where(chosen, new, x), np.where(yes, found, energies), float(yes.mean())

    @staticmethod
    def _normal(x: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
