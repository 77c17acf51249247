"""What is watched while chains are propagated, and when one is broken."""

from __future__ import annotations

from dataclasses import dataclass

import mdtraj
import numpy as np
from scipy.stats import chi2

from molflow.analysis.limits import Limits, limits_of
from molflow.analysis.stereo import stereocentres
from molflow.analysis.validity import PUBLISHED, check_validity
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

    A chain is broken when a coordinate is not finite; when its kinetic temperature is one that
    thermal velocities have with a chance of less than 1e-12; or when a bond is 0.05 nm from its
    length at the start, atoms four bonds apart or more are closer than 0.1 nm, or a stereocentre
    has turned over.

    Parameters
    ----------
    topology : mdtraj.Topology
        With bonds.
    start : ndarray, (n, n_atoms, 3)
        Sound conformations, nm.
    masses : ndarray, (n_atoms,)
        amu.
    temperature : float
        K.
    """

    def __init__(
        self, topology: mdtraj.Topology, start: np.ndarray, masses: np.ndarray, temperature: float
    ):
        self.limits: Limits = limits_of(start, topology, stereocentres(topology))
        self.masses, self.temperature = masses, temperature
        freedom = 3 * len(masses)
        self.range = temperature / freedom * np.array(
            [chi2.ppf(_CHANCE, freedom), chi2.isf(_CHANCE, freedom)]
        )

    def kinetic_temperatures(self, velocities: np.ndarray) -> np.ndarray:
        """Return the kinetic temperature of every chain, (chains,) K; (chains, n_atoms, 3)."""
        squares = np.einsum("cad,cad,a->c", velocities, velocities, self.masses)
        return squares / (3.0 * len(self.masses) * GAS_CONSTANT)

    def after_step(
        self, time: float, positions: np.ndarray, velocities: np.ndarray | None
    ) -> list[Break]:
        """Return the chains that the look after every step finds broken."""
        finite = np.isfinite(positions).all(axis=(1, 2))
        if velocities is None:
            return [Break(int(i), time, _LOST) for i in np.flatnonzero(~finite)]
        finite &= np.isfinite(velocities).all(axis=(1, 2))
        found = [Break(int(i), time, _LOST) for i in np.flatnonzero(~finite)]
        with np.errstate(invalid="ignore"):
            kinetic = self.kinetic_temperatures(velocities)
        low, high = self.range
        outside = finite & ~((kinetic >= low) & (kinetic <= high))
        for chain in np.flatnonzero(outside):
            what = (
                f"its kinetic temperature is {kinetic[chain]:.4g} K, at {self.temperature:g} K "
                f"never outside {low:.0f} to {high:.0f} K"
            )
            found.append(Break(int(chain), time, what))
        return sorted(found, key=lambda found: found.chain)

    def at_frame(self, time: float, positions: np.ndarray) -> list[Break]:
        """Return the chains whose molecules are not sound, for positions that are finite."""
        validity = check_validity(positions, self.limits)
        first = {}
        for finding in validity.findings:
            if finding.test in PUBLISHED:
                first.setdefault(finding.sample, finding)
        return [
            Break(chain, time, _WORDS[f.test].format(f=f)) for chain, f in sorted(first.items())
        ]


_LOST = "a coordinate is not finite"
_WORDS = {
    "bonds": "the bond {f.where} is {f.value:.3f} nm long, allowed are {f.low:.3f} to "
    "{f.high:.3f} nm",
    "clashes": "the atoms {f.where} are {f.value:.3f} nm apart, allowed are {f.low:.3f} nm or "
    "more",
    "stereo": "the stereocentre {f.where} has turned over",
}
