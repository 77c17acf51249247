"""Steps along paths under the true force, for training and validation."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join_equal_matrix
from molflow.brownian.increment import Increment
from molflow.data.paths import PathData, PathPart
from molflow.errors import MolflowError
from molflow.maps.langevin.inertial import InertialFlowMap
from molflow.units import thermal_energy


class PathSteps:
    """Steps that begin and end where blocks of stored paths do.

    Parameters
    ----------
    paths : PathData
    longest_lag : float
        ps.

    Raises
    ------
    MolflowError
        If no block is that short.
    """

    def __init__(self, paths: PathData, longest_lag: float):
        self.paths = paths
        self.most = min(paths.blocks, int(longest_lag / paths.block + 1e-6))
        if self.most < 1:
            raise MolflowError(
                f"map.longest_lag is {longest_lag:g} ps, and paths are stored in blocks of "
                f"{paths.block:g} ps: take longer steps, or set objective.direct_share to 0."
            )
        sizes = np.array([len(part.rows) for part in paths.train], dtype=float)
        self._sizes = torch.from_numpy(sizes)

    @property
    def shortest(self) -> float:
        """Length of the shortest of them, ps."""
        return self.paths.block

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Any]:
        """Draw steps of one friction from training paths.

        Returns
        -------
        dict
            ``friction`` (1/ps), ``path_start`` and ``path_end`` (count, 2, atoms, 3), ``path_lag``
            (count,) float64 and ``path_noise`` (count, atoms, 3, order + 1), whitened.
            Lags are uniform over the multiples of a block, stratified.
        """
        part = self.paths.train[int(torch.multinomial(self._sizes, 1, generator=generator))]
        strata = (torch.arange(count) + torch.rand(count, generator=generator)) / count
        blocks = 1 + (self.most * strata).long()
        firsts = torch.rand(count, generator=generator) * (self.paths.blocks - blocks + 1)
        rows = torch.randint(len(part.rows), (count,), generator=generator)
        return self.steps(part, rows, firsts.long(), blocks)

    def has(self, lag: float) -> bool:
        """Return whether some steps are so long."""
        blocks = lag / self.paths.block
        return abs(blocks - round(blocks)) < 1e-6 and 1 <= round(blocks) <= self.paths.blocks

    def starts(self, part: PathPart, lag: float, most: int) -> dict[str, Any]:
        """Return the first steps of a lag of up to so many paths of a part, as in `draw`."""
        rows = torch.arange(min(most, len(part.rows)))
        blocks = torch.full_like(rows, round(lag / self.paths.block))
        return self.steps(part, rows, torch.zeros_like(rows), blocks)

    def steps(
        self, part: PathPart, rows: Tensor, firsts: Tensor, blocks: Tensor
    ) -> dict[str, Any]:
        """Return steps of some paths of a part; all arguments after it are (count,) int.

        Parameters
        ----------
        firsts, blocks : Tensor
            Where the steps begin, and how many blocks they have.
        """
        records = part.rows[rows.numpy()]
        states = torch.from_numpy(records["states"].copy())
        noise, basis = records["noise"], Basis(self.paths.order, (part.friction,))
        seen = []
        for own, first, count in zip(noise, firsts.tolist(), blocks.tolist(), strict=True):
            children = torch.from_numpy(own[first : first + count].copy())
            children = children.permute(1, 2, 0, 3).flatten(-2)
            seen.append(children @ _joining(basis, self.paths.block, count).mT)
        every = torch.arange(len(rows))
        return {
            "friction": part.friction,
            "path_start": states[every, firsts],
            "path_end": states[every, firsts + blocks],
            "path_lag": self.paths.block * blocks.double(),
            "path_noise": torch.stack(seen),
        }


def path_end(flow_map: InertialFlowMap, batch: dict[str, Any]) -> Tensor:
    """Return where the map takes the starts of steps of `PathSteps`, float64 on the CPU."""
    device = next(flow_map.parameters()).device
    x, z, lag = (batch[name].to(device) for name in ("path_start", "path_noise", "path_lag"))
    start = torch.zeros_like(lag)
    mean = flow_map.mean(start, lag, x, z).double()
    increment = Increment.from_whitened(flow_map.basis, lag, z.double())
    return flow_map.sde.apply(start, lag, x.double(), mean, increment).cpu()


def path_error(steps: PathSteps, flow_map: InertialFlowMap, lag: float) -> float | None:
    """Return the root mean square error of velocities after one step from the starts of validation
    paths, in thermal units; None if no step is so long."""
    if not steps.has(lag):
        return None
    squares = []
    for part in steps.paths.validation:
        batch = steps.starts(part, lag, 64)
        own = flow_map.at(flow_map.temperature, batch["friction"])
        off = (path_end(own, batch) - batch["path_end"])[:, 1]
        off = off * own.root_masses.double().cpu()[:, None]
        squares.append(off.square().mean() / thermal_energy(own.temperature))
    return float(torch.stack(squares).mean().sqrt())


@lru_cache(maxsize=4096)
def _joining(basis: Basis, block: float, count: int) -> Tensor:
    return join_equal_matrix(basis, torch.tensor(block, dtype=torch.float64), count).float()
