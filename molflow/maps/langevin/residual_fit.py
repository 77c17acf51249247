"""The covariance of what a map misses, from paths under the true force that it was not shown."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from molflow.data.paths import PathPart
from molflow.maps.langevin.inertial import InertialFlowMap
from molflow.maps.langevin.path_steps import PathSteps, path_end
from molflow.maps.langevin.residual_noise import (
    ResidualNoise,
    check_size,
    frame_neighbours,
    in_frames,
    local_frames,
)
from molflow.nn.graph import MolecularGraph

#: States of a network call.
_AT_ONCE = 256


@torch.no_grad()
def fit_residual_noise(
    flow_map: InertialFlowMap, steps: PathSteps, graph: MolecularGraph
) -> ResidualNoise:
    """Return the residual noise of greatest likelihood, from all steps of validation paths.

    Without validation paths those of the training serve; the ones that begin at hot frames do not.

    Parameters
    ----------
    flow_map : InertialFlowMap
    steps : PathSteps
    graph : MolecularGraph

    Raises
    ------
    MolflowError
        If the molecule is too large; see `check_size`.
    """
    check_size(graph.n_atoms, steps.most)
    parts = steps.paths.validation or steps.paths.train
    neighbours = frame_neighbours(graph)
    frictions = torch.tensor([part.friction for part in parts], dtype=torch.float64)
    found = []
    for blocks in range(1, steps.most + 1):
        moments, counts = [], []
        for part in parts:
            own = flow_map.at(flow_map.temperature, part.friction)
            local = torch.cat([
                in_frames(off, local_frames(end, neighbours))
                for end, off in _residuals(own, steps, part, blocks)
            ])  # fmt: skip
            moments.append(local.T @ local / len(local))
            counts.append(len(local))
        found.append(by_friction(torch.stack(moments), torch.tensor(counts), frictions))
    by_map, by_noise = (torch.stack(matrices) for matrices in zip(*found, strict=True))
    masses = flow_map.root_masses.square().double().cpu()
    return ResidualNoise(
        steps.paths.block, by_map, by_noise, neighbours, masses, flow_map.temperature
    )


def by_friction(moments: Tensor, counts: Tensor, frictions: Tensor) -> tuple[Tensor, Tensor]:
    """Return A and B of the moments A + γ B, by least squares.

    Errors of moments are taken to be in proportion to their size, mean friction plus friction.

    Parameters
    ----------
    moments : Tensor, (parts, size, size)
    counts, frictions : Tensor, (parts,)
        Of how many residuals they are the mean, and 1/ps.
    """
    typical = frictions.log().mean().exp()
    weight = counts.double().sqrt() / (typical + frictions)
    weight = weight / weight.norm()
    if float(frictions.max() / frictions.min()) < 1.5:
        mean = torch.einsum("p,pij->ij", weight.square(), moments)
        return mean, torch.zeros_like(mean)
    columns = torch.stack([torch.ones_like(frictions), frictions], dim=1)
    solution = torch.linalg.lstsq(weight[:, None] * columns, weight[:, None] * moments.flatten(1))
    constant, slope = solution.solution.unflatten(1, moments.shape[1:])
    return constant, slope


def _residuals(
    flow_map: InertialFlowMap, steps: PathSteps, part: PathPart, blocks: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield positions that the map says, (batch, atoms, 3), and what is missing of the states."""
    warm = torch.from_numpy(~part.rows["hot"]).nonzero()[:, 0]
    firsts = torch.arange(0, steps.paths.blocks - blocks + 1, blocks)
    rows, firsts = (grid.flatten() for grid in torch.meshgrid(warm, firsts, indexing="ij"))
    for row, first in zip(rows.split(_AT_ONCE), firsts.split(_AT_ONCE), strict=True):
        batch = steps.steps(part, row, first, torch.full_like(row, blocks))
        end = path_end(flow_map, batch)
        yield end[:, 0], batch["path_end"].double() - end
