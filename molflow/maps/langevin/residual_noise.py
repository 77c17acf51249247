"""The part of a step that a map of dynamics does not say, as noise with a covariance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from molflow.errors import MolflowError
from molflow.maps.dynamics.scales import without_drift
from molflow.nn.graph import MolecularGraph

#: The largest covariances that are worth their cost: of 300 atoms at eight lags.
MOST_BYTES = 1 << 29


def check_size(n_atoms: int, lags: int) -> None:
    """Raise `MolflowError` where covariances of all atoms would cost too much.

    Parameters
    ----------
    n_atoms, lags : int
    """
    size = 2 * lags * 8 * (6 * n_atoms) ** 2
    if size > MOST_BYTES:
        raise MolflowError(
            f"residual noise of {n_atoms} atoms at {lags} lags would take {size / 2**30:.1f} GiB, "
            f"and decompositions of matrices of {6 * n_atoms} rows: it is not learned for "
            "molecules as large. The map itself is whole and propagates without."
        )


@dataclass(frozen=True)
class ResidualNoise:
    r"""Gaussian residual of the end of a step given its start and the features of its increment.

    The coefficients of a step leave a part of its noise out, and a network misses a part of the
    mean. A map without both cools every vibration, most the fast ones, see
    `molflow.sde.harmonic`. What is missing is nearly uncorrelated with what the map says (exactly,
    for the best map), so that noise of its covariance brings temperatures back.

    The covariance is constant in frames that move with the atoms, see `local_frames`, whole over
    positions and velocities of all atoms: what is missing from a bond vibration lies along the
    bond, on both atoms and with opposite signs. In friction γ it is A + γ B, the error of the
    network and the noise that the coefficients do not resolve; in temperature it is proportional.

    Attributes
    ----------
    block : float
        ps; lags of k blocks are those of the k-th matrices. Between them the covariance is
        interpolated, below the first it grows with the square of the lag.
    by_map, by_noise : Tensor, (lags, 6 atoms, 6 atoms) float64
        A, and B in 1/ps⁻¹, of positions (nm), all atoms, and then velocities (nm/ps).
    neighbours : Tensor, (atoms, 2) int
        The atoms that define the frame of each.
    masses : Tensor, (atoms,) float64
        amu.
    temperature : float
        K, of the data.
    """

    block: float
    by_map: Tensor
    by_noise: Tensor
    neighbours: Tensor
    masses: Tensor
    temperature: float

    def on(self, device: torch.device) -> ResidualNoise:
        """Return the noise with what `draw` needs on a device; covariances stay where they are."""
        return replace(
            self, neighbours=self.neighbours.to(device), masses=self.masses.to(device)
        )

    def covariance(self, h: float, temperature: float, friction: float) -> Tensor:
        """Return the covariance of a step of length h (ps), (6 atoms, 6 atoms) float64.

        Raises
        ------
        MolflowError
            If the step is longer than those the covariance was learned from.
        """
        place = h / self.block
        if not place <= len(self.by_map) + 1e-6:
            raise MolflowError(
                f"the lag is {1e3 * h:g} fs, and the residual noise is known up to "
                f"{1e3 * self.block * len(self.by_map):g} fs: take shorter steps."
            )
        known = self.by_map + friction * self.by_noise
        upper = min(max(1, -int(-place // 1)), len(known))
        if upper == 1:
            found = place**2 * known[0]
        else:
            share = place - (upper - 1)
            found = (1.0 - share) * known[upper - 2] + share * known[upper - 1]
        return temperature / self.temperature * found

    def factor(self, h: float, temperature: float, friction: float) -> Tensor:
        """Return L with L Lᵀ the nearest covariance, negative variances being taken as none."""
        covariance = self.covariance(h, temperature, friction)
        # Positions and velocities have units of their own.
        size = covariance.diagonal().clamp(min=1e-300).sqrt()
        values, vectors = torch.linalg.eigh(covariance / size / size[:, None])
        return size[:, None] * vectors * values.clamp(min=0.0).sqrt()

    def draw(self, positions: Tensor, factor: Tensor, normal: Tensor) -> Tensor:
        """Return residuals (batch, 2, atoms, 3) for positions at the ends of steps.

        Parameters
        ----------
        positions : Tensor, (batch, atoms, 3)
            nm.
        factor : Tensor
            From `factor`.
        normal : Tensor, (batch, 6 atoms)
            Independent standard normal numbers.
        """
        local = (normal @ factor.mT).reshape(len(positions), 2, -1, 3)
        frames = local_frames(positions, self.neighbours)
        moved = torch.einsum("baxl,bkal->bkax", frames, local)
        roots = self.masses.sqrt()
        free = without_drift((roots[:, None] * moved).flatten(0, 1), roots)
        return free.unflatten(0, (-1, 2)) / roots[:, None]


def local_frames(positions: Tensor, neighbours: Tensor) -> Tensor:
    """Return right-handed frames of atoms, (batch, atoms, 3, 3), whose columns are unit vectors.

    The first points to the first neighbour, the second is in the plane of both.

    Parameters
    ----------
    positions : Tensor, (batch, atoms, 3)
    neighbours : Tensor, (atoms, 2) int
    """
    first, second = (positions[:, index] - positions for index in neighbours.unbind(1))
    one = torch.nn.functional.normalize(first, dim=-1)
    two = second - (second * one).sum(-1, keepdim=True) * one
    two = torch.nn.functional.normalize(two, dim=-1)
    return torch.stack([one, two, torch.linalg.cross(one, two)], dim=-1)


def in_frames(states: Tensor, frames: Tensor) -> Tensor:
    """Return changes of states (batch, 2, atoms, 3) in local frames, (batch, 6 atoms)."""
    return torch.einsum("baxl,bkax->bkal", frames, states).flatten(1)


def frame_neighbours(graph: MolecularGraph) -> Tensor:
    """Return for each of three atoms or more the two nearest along bonds, (atoms, 2).

    Of atoms that are equally near, or of which none is bonded, the first.

    Parameters
    ----------
    graph : MolecularGraph
    """
    near: list[list[int]] = [[] for _ in range(graph.n_atoms)]
    for atom, other, _ in sorted(graph.pairs_within(2), key=lambda pair: (pair[2], pair[1])):
        near[atom].append(other)
    for atom, found in enumerate(near):
        if len(found) < 2:
            unbonded = (k for k in range(graph.n_atoms) if k != atom and k not in found)
            found += islice(unbonded, 2 - len(found))
    return torch.tensor([found[:2] for found in near])
