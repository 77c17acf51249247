"""The strong flow map of a reverse diffusion."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from molflow.errors import MolflowError
from molflow.flow_map.base import FlowMap
from molflow.flow_map.centring import centre
from molflow.maps.denoiser.clock import StepClock
from molflow.nn.chemistry import Chemistry
from molflow.sde.reverse_diffusion import ReverseDiffusion


class DenoiserFlowMap(FlowMap):
    r"""Strong flow map X_t = Φ x + (1 − Φ) D̄ + M of a variance-exploding reverse diffusion.

    The lift Φ and the martingale M are exact (`ReverseDiffusion`); the network supplies D̄, the
    weighted mean of the denoiser E[x₀ | x_u] along the path from s to t. With the positions at
    unit standard deviation, D̄ is assembled as

        D̄ = c_skip x + c_out F,   c_skip = v²/(v² + σ²),   c_out = vσ/sqrt(v² + σ²),   σ = σ(s),

    (Karras et al. 2022, arXiv 2206.00364, eq. 7), v = 1, so that F is of unit size at every noise
    level, and F = 0 at initialisation. In a network of many molecules lengths have one unit for
    all, so that a bond is a bond, and v is the spread of each. The network sees the whitened
    features of the increment multiplied by sqrt(1 − exp(−2h)): none of them when the step has no
    length, or when η = 0, whose probability flow does not depend on the path.

    Parameters
    ----------
    network : nn.Module
        ``(positions, noise, s, t) -> (batch, atoms, 3)``.
    sde : ReverseDiffusion
    order : int
        Number of Legendre coefficients of the increments.
    clock : StepClock, optional
        On which a sample's jumps are equally long; by default equally long in log σ.
    etas : (float, float), optional
        The network is told η as well, and has learned it in this range; see `at`. What it sees of
        a path is then multiplied by 2η/(η + η₀), η₀ being that of `sde`: nothing at η = 0, where
        D̄ does not depend on the path, and at η₀ what a map without this input sees.
    spread : float
        v, the standard deviation of the positions.
    chemistry : Chemistry, optional
        What the network has seen of molecules, where it is one of many.
    """

    sde: ReverseDiffusion
    clock: StepClock

    def __init__(
        self,
        network: nn.Module,
        sde: ReverseDiffusion,
        order: int,
        clock: StepClock | None = None,
        etas: tuple[float, float] | None = None,
        spread: float = 1.0,
        chemistry: Chemistry | None = None,
    ):
        super().__init__()
        self.network, self.sde = network, sde
        self.clock = StepClock(sde.duration) if clock is None else clock
        self.basis = sde.basis(order)
        self.etas, self._own_eta = etas, sde.eta
        self.spread, self.chemistry = spread, chemistry

    def of_molecule(self, k: int, spread: float, named: bool) -> DenoiserFlowMap:
        """Return the map of one of the molecules of its network, with the same weights.

        `named` says whether the network is told the names of residues.
        """
        network: Any = self.network
        return self._with(network.of(k, named), self.sde, spread)

    def _with(self, network: nn.Module, sde: ReverseDiffusion, spread: float) -> DenoiserFlowMap:
        order, chemistry = self.basis.order, self.chemistry
        other = DenoiserFlowMap(network, sde, order, self.clock, self.etas, spread, chemistry)
        other._own_eta = self._own_eta
        return other.train(self.training)

    def at(self, eta: float) -> DenoiserFlowMap:
        """Return the map of the same network at another η.

        Raises
        ------
        MolflowError
            If η is not an input of the network, or outside of the range that it has learned.
        """
        if eta == self.sde.eta:
            return self
        if self.etas is None or not self.etas[0] <= eta <= self.etas[1]:
            knows = f"{self._own_eta:g} alone, since its network is not told eta: map.etas=[0,1]"
            if self.etas is not None:
                knows = f"{self.etas[0]:g} to {self.etas[1]:g}: a wider map.etas"
            raise MolflowError(
                f"eta is {eta!r}, and the map has learned {knows} in training changes that."
            )
        sde = dataclasses.replace(self.sde, eta=float(eta))
        return self._with(self.network, sde, self.spread)

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        """Return D̄ of shape (batch, atoms, 3) for a centred state x at s."""
        sigma = self.sde.sigma(s).reshape(-1, 1, 1)
        scale = torch.rsqrt(1.0 + sigma.square())
        within = torch.rsqrt(self.spread**2 + sigma.square())
        visible = torch.sqrt(-torch.expm1(-2.0 * (t - s))).reshape(-1, 1, 1, 1)
        eta = self.sde.eta
        if not eta:
            visible = torch.zeros_like(visible)
        if self.etas is None:
            out = self.network(scale * x, visible * whitened, s, t)
        else:
            seen = 2.0 * eta / (eta + self._own_eta) * visible * whitened
            if not eta:  # The basis has no exponential feature, the network a place for it.
                seen = nn.functional.pad(seen, (0, 1))
            out = self.network(scale * x, seen, s, t, torch.full_like(s, eta))
        skip = self.spread**2 * within.square()
        return centre(skip * x + self.spread * sigma * within * out)

    def unit(self, s: Tensor) -> Tensor:
        """Return c_out(s), (batch,)."""
        sigma = self.sde.sigma(s)
        return self.spread * sigma * torch.rsqrt(self.spread**2 + sigma.square())


def spread_of(flow_map: FlowMap) -> float:
    """Return the standard deviation of a map's data; other kinds than ours know data of unit size.

    Maps of others are trained, drawn from and followed as ours are, without our attributes.
    """
    return getattr(flow_map, "spread", 1.0)


def etas_of(flow_map: FlowMap) -> tuple[float, float] | None:
    """Return the range of η that a map's network is told; None for any that is not told."""
    return getattr(flow_map, "etas", None)
