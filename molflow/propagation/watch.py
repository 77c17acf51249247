"""What is watched while chains are propagated, and when one is broken."""

from __future__ import annotations

from dataclasses import dataclass

import mdtraj
import numpy as np
import torch
from scipy.stats import chi2
from torch import Tensor

from molflow.analysis.molecule.limits import Limits, limits_of
from molflow.analysis.molecule.stereo import stereocentres
from molflow.analysis.molecule.validity import PUBLISHED, Finding, check_validity
from molflow.devices import upload
from molflow.units import GAS_CONSTANT

#: Chance that the kinetic energy of a sound chain is beyond its limits, each of two.
_CHANCE = 1e-12


@dataclass(frozen=True)
class Break:
    """A chain that is no longer a sound molecule: which, when (ps), and what is wrong."""

    chain: int
    time: float
    what: str


class Watch:
    """Looks at chains and says which broke.

    A chain is broken when a bond is 0.05 nm from its length at the start, atoms four bonds apart or
    more are closer than 0.1 nm, or a stereocentre has turned over; see also `StepWatch`.

    Parameters
    ----------
    topology : mdtraj.Topology
        With bonds.
    start : ndarray, (n, n_atoms, 3)
        Sound conformations, nm.
    masses : ndarray, (n_atoms,)
        amu.
    """

    def __init__(self, topology: mdtraj.Topology, start: np.ndarray, masses: np.ndarray):
        self.limits: Limits = limits_of(start, topology, stereocentres(topology))
        self.masses = masses

    def kinetic_temperatures(self, velocities: np.ndarray) -> np.ndarray:
        """Return the kinetic temperature of every chain, (chains,) K; (chains, n_atoms, 3)."""
        squares = np.einsum("cad,cad,a->c", velocities, velocities, self.masses)
        return squares / (3.0 * len(self.masses) * GAS_CONSTANT)

    def at_frame(self, time: float, positions: np.ndarray) -> list[Break]:
        """Return the chains whose molecules are not sound, for positions that are finite."""
        validity = check_validity(positions, self.limits, PUBLISHED)
        first: dict[int, Finding] = {}
        for finding in validity.findings:
            first.setdefault(finding.sample, finding)
        return [
            Break(chain, time, _WORDS[f.test].format(f=f)) for chain, f in sorted(first.items())
        ]


class StepWatch:
    """Looks at chains after every step, where they are, and keeps what it saw until it is asked.

    A chain is broken when a coordinate is not finite, or when its kinetic temperature is one that
    thermal velocities have with a chance of less than 1e-12. It is put back to where it started, so
    that numbers stay numbers.

    Parameters
    ----------
    first : Tensor, (chains, 2, n_atoms, 3) or (chains, n_atoms, 3)
        States at the start.
    masses : ndarray, (n_atoms,)
        amu.
    temperature : float
        K.
    inertial : bool
        Whether states have velocities.
    """

    def __init__(self, first: Tensor, masses: np.ndarray, temperature: float, inertial: bool):
        self.first, self.temperature, self.inertial = first, temperature, inertial
        self.masses = upload(torch.from_numpy(masses), first.device)
        freedom = 3 * len(masses)
        self.range = tuple(
            temperature / freedom * float(bound)
            for bound in (chi2.ppf(_CHANCE, freedom), chi2.isf(_CHANCE, freedom))
        )
        self._begin()

    def _begin(self) -> None:
        #: Number of the step in which a chain broke, 0 for none, and how hot it was, K.
        self._seen = self.first.new_zeros(2, len(self.first))
        self._times: list[float] = []

    def __call__(self, time: float, x: Tensor) -> Tensor:
        """Return the states to go on with."""
        self._times.append(time)
        bad = ~x.isfinite().flatten(1).all(1)
        kinetic = torch.full_like(self._seen[1], torch.nan)
        if self.inertial:
            squares = (x[:, 1].square().sum(-1) * self.masses).sum(-1)
            # No number where a coordinate is none.
            kinetic = torch.where(bad, kinetic, squares / (3.0 * len(self.masses) * GAS_CONSTANT))
            low, high = self.range
            bad = ~((kinetic >= low) & (kinetic <= high))
        new = bad & (self._seen[0] == 0.0)
        seen = torch.stack([torch.full_like(kinetic, len(self._times)), kinetic])
        self._seen = torch.where(new, seen, self._seen)
        return torch.where(bad.reshape(-1, *[1] * (x.ndim - 1)), self.first, x)

    def found(self) -> list[list[Break]]:
        """Return which chains broke since it was last asked, one list for each time, and forget."""
        steps, kinetic = self._seen.cpu().numpy()
        found = [
            [Break(int(i), time, self._what(kinetic[i])) for i in np.flatnonzero(steps == k)]
            for k, time in enumerate(self._times, start=1)
        ]
        self._begin()
        return [breaks for breaks in found if breaks]

    def _what(self, kinetic: float) -> str:
        if np.isnan(kinetic):
            return "a coordinate is not finite"
        low, high = self.range
        return (
            f"its kinetic temperature is {kinetic:.4g} K, at {self.temperature:g} K never outside "
            f"{low:.0f} to {high:.0f} K"
        )


_WORDS = {
    "bonds": "the bond {f.where} is {f.value:.3f} nm long, allowed are {f.low:.3f} to "
    "{f.high:.3f} nm",
    "clashes": "the atoms {f.where} are {f.value:.3f} nm apart, allowed are {f.low:.3f} nm or "
    "more",
    "stereo": "the stereocentre {f.where} has turned over",
}
