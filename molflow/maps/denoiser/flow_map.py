"""The strong flow map of a reverse diffusion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molflow.flow_map.base import FlowMap
from molflow.flow_map.centring import centre
from molflow.maps.denoiser.clock import StepClock
from molflow.sde.reverse_diffusion import ReverseDiffusion


class DenoiserFlowMap(FlowMap):
    r"""Strong flow map X_t = Φ x + (1 − Φ) D̄ + M of a variance-exploding reverse diffusion.

    The lift Φ and the martingale M are exact (`ReverseDiffusion`); the network supplies D̄, the
    weighted mean of the denoiser E[x₀ | x_u] along the path from s to t. With the positions at
    unit standard deviation, D̄ is assembled as

        D̄ = c_skip x + c_out F,   c_skip = 1/(1 + σ²),   c_out = σ/sqrt(1 + σ²),   σ = σ(s),

    (Karras et al. 2022, arXiv 2206.00364, eq. 7), so that F is of unit size at every noise level.
    F = 0 at initialisation. The network sees the whitened features of the increment multiplied by
    sqrt(1 − exp(−2h)): none of them when the step has no length, or when η = 0, whose probability
    flow does not depend on the path.

    Parameters
    ----------
    network : nn.Module
        ``(positions, noise, s, t) -> (batch, atoms, 3)``.
    sde : ReverseDiffusion
    order : int
        Number of Legendre coefficients of the increments.
    clock : StepClock, optional
        On which a sample's jumps are equally long; by default equally long in log σ.
    """

    sde: ReverseDiffusion
    clock: StepClock

    def __init__(
        self,
        network: nn.Module,
        sde: ReverseDiffusion,
        order: int,
        clock: StepClock | None = None,
    ):
        super().__init__()
        self.network, self.sde = network, sde
        self.clock = StepClock(sde.duration) if clock is None else clock
        self.basis = sde.basis(order)

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        """Return D̄ of shape (batch, atoms, 3) for a centred state x at s."""
        sigma = self.sde.sigma(s).reshape(-1, 1, 1)
        scale = torch.rsqrt(1.0 + sigma.square())
        visible = torch.sqrt(-torch.expm1(-2.0 * (t - s))).reshape(-1, 1, 1, 1)
        if not self.sde.eta:
            visible = torch.zeros_like(visible)
        out = self.network(scale * x, visible * whitened, s, t)
        return centre(scale.square() * x + sigma * scale * out)

    def unit(self, s: Tensor) -> Tensor:
        """Return c_out(s), (batch,)."""
        sigma = self.sde.sigma(s)
        return sigma * torch.rsqrt(1.0 + sigma.square())
