"""Samplers that draw from a checkpoint's own denoiser: what a strong map has to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.flow_map.rollout import centre_increment
from molflow.maps.denoiser.draw import BLOCK, BlockPaths, start_positions
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.seeds import derive_seed
from molflow.solvers.euler_maruyama import euler_maruyama_step
from molflow.solvers.exponential_euler import exponential_euler_step
from molflow.solvers.exponential_heun import exponential_heun_step


@dataclass(frozen=True)
class Solver:
    """A scheme for the reverse diffusion with the denoiser of the network.

    Parameters
    ----------
    scheme : callable
        One step.
    cost : int
        Network calls a step. What an odd number of them leaves over is one
        exponential Euler step at the end, where the denoiser is nearly linear.
    eta : float
        Stochasticity; 0 is the probability flow.
    """

    scheme: Callable[..., Tensor]
    cost: int
    eta: float


SOLVERS = {
    "reverse_sde_euler_maruyama": Solver(euler_maruyama_step, 1, 1.0),
    "reverse_sde_exponential_euler": Solver(exponential_euler_step, 1, 1.0),
    "probability_flow_exponential_euler": Solver(exponential_euler_step, 1, 0.0),
    "probability_flow_heun": Solver(exponential_heun_step, 2, 0.0),
}


def schedule(solver: Solver, calls: int) -> list[Callable[..., Tensor]]:
    """Return the schemes of all steps, which take so many network calls together."""
    steps = [solver.scheme] * (calls // solver.cost)
    return steps + [exponential_euler_step] * (calls % solver.cost)


def draw_by(
    solver: Solver, flow_map: DenoiserFlowMap, n: int, calls: int, seed: int, n_atoms: int
) -> Tensor:
    """Draw n samples at unit scale, (n, atoms, 3), from the starts of the map's own.

    Steps are equally long on the clock of the map's jumps.
    """
    sde = ReverseDiffusion(flow_map.sde.sigma_max, flow_map.sde.sigma_min, solver.eta)

    def denoise(t: Tensor, x: Tensor) -> Tensor:
        now = t.expand(len(x))
        return flow_map.mean(now, now, x, x.new_zeros(*x.shape, flow_map.basis.size))

    schemes = schedule(solver, calls)
    drawn = []
    for first in range(0, -(-n // BLOCK), 4):
        seeds = [derive_seed(seed, "block", block) for block in range(first, first + 4)]
        x = torch.cat([start_positions(flow_map, BLOCK, n_atoms, value) for value in seeds])
        paths = BlockPaths(sde.basis(1), sde.duration, seeds, n_atoms, x.device)
        times = [paths.snap(time) for time in flow_map.clock.grid(len(schemes))]
        for scheme, s, t in zip(schemes, times[:-1], times[1:], strict=True):
            ends = torch.tensor([s, t], dtype=x.dtype)
            x = scheme(sde, denoise, *ends, x, centre_increment(paths.increment(s, t)))
        drawn.append(x)
    return torch.cat(drawn)[:n]
