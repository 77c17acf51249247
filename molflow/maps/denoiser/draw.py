"""Draw conformations from a flow map, block by block, each from its own Brownian path."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.brownian.path import BrownianPath
from molflow.devices import upload
from molflow.flow_map.centring import centre
from molflow.flow_map.rollout import rollout
from molflow.maps.denoiser.flow_map import DenoiserFlowMap, spread_of
from molflow.maps.denoiser.probability_flow import ProbabilityFlow, flow_times, without_paths
from molflow.seeds import derive_seed

#: Samples that share one seeded generator. Batches are made of whole blocks, so that sample i is
#: the same whatever the size of the batch.
BLOCK = 64


def start_variance(flow_map: DenoiserFlowMap) -> float:
    """Return the variance of a coordinate where the clock starts: of the data and of the noise."""
    return spread_of(flow_map) ** 2 + flow_map.sde.sigma_max**2


def start_positions(flow_map: DenoiserFlowMap, count: int, n_atoms: int, seed: int) -> Tensor:
    """Draw the state at the start of the clock, shape (count, atoms, 3), centred.

    At σ_max the marginal law of x₀ + σ n is a Gaussian whose variance is that of the noise plus
    that of the data.

    torch's generator takes the lowest 32 bits of a seed, so that among a million samples two blocks
    begin alike with a chance of 3 %; their Brownian paths, which take all bits, differ even then.
    Another generator would change every sample of the committed figures.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "start"))
    normal = centre(torch.randn(count, n_atoms, 3, generator=generator))
    return math.sqrt(start_variance(flow_map)) * normal


class BlockPaths:
    """The Brownian paths of several blocks, asked as one.

    Parameters
    ----------
    basis : Basis
    duration : float
        Of the clock.
    seeds : list of int
        One per block.
    n_atoms : int
    device : torch.device
    """

    def __init__(self, basis: Basis, duration: float, seeds: list[int], n_atoms: int, device):
        shape = (BLOCK, n_atoms, 3)
        # Put together on the processor, so that they are sent in one piece.
        self.paths = [BrownianPath(basis, 0.0, duration, shape, seed) for seed in seeds]
        self.device = torch.device(device)

    def snap(self, t: float) -> float:
        """Return the nearest time that the paths know."""
        return self.paths[0].snap(t)

    def increment(self, s: float, t: float) -> Increment:
        """Return the increment of all blocks, features (blocks * BLOCK, atoms, 3, size)."""
        parts = [path.increment(s, t) for path in self.paths]
        together = parts[0].with_whitened(torch.cat([part.whitened() for part in parts]))
        return together.on(self.device)


def draw_blocks(
    flow_map: DenoiserFlowMap, blocks: range, steps: int, seed: int, n_atoms: int
) -> Tensor:
    """Draw ``len(blocks) * BLOCK`` samples at unit scale on the flow map's device."""
    device = next(flow_map.parameters()).device
    seeds = [derive_seed(seed, "block", block) for block in blocks]
    starts = [start_positions(flow_map, BLOCK, n_atoms, value) for value in seeds]
    x = upload(torch.cat(starts), device)
    paths = BlockPaths(flow_map.basis, flow_map.sde.duration, seeds, n_atoms, device)
    return rollout(flow_map, x, paths, flow_map.clock.grid(steps))


def flow_blocks(
    flow_map: DenoiserFlowMap, blocks: range, steps: int, seed: int, n_atoms: int
) -> Tensor:
    """Draw as `draw_blocks`, from the same starts but by the probability flow, without paths."""
    device = next(flow_map.parameters()).device
    seeds = [derive_seed(seed, "block", block) for block in blocks]
    x = torch.cat([start_positions(flow_map, BLOCK, n_atoms, value) for value in seeds]).to(device)
    flow_map = without_paths(flow_map)
    return ProbabilityFlow(flow_map, flow_times(flow_map, steps))(x)


def draw(flow_map: DenoiserFlowMap, n: int, steps: int, seed: int, n_atoms: int) -> Tensor:
    """Draw n samples at unit scale, shape (n, atoms, 3), in batches of four blocks, on the CPU."""
    with torch.no_grad():
        batches = [
            draw_blocks(flow_map, range(k, k + 4), steps, seed, n_atoms).cpu()
            for k in range(0, -(-n // BLOCK), 4)
        ]
    return torch.cat(batches)[:n]
