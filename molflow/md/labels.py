"""Energies and forces of many conformations, in parts that survive an interruption."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molflow.analysis.molecule.graph import with_bonds
from molflow.analysis.molecule.reactions import changed_bonds
from molflow.farm import Jobs
from molflow.files import write_arrays
from molflow.md.energies import EnergyWorkers, checked_positions, part_size, sensible_jobs
from molflow.parts import kept_arrays
from molflow.progress import track
from molflow.systems import MolecularSystem


@dataclass(frozen=True)
class Labels:
    """What an energy function says of conformations.

    Attributes
    ----------
    energies : ndarray, (n,), float64
        kJ/mol, infinite where there is none.
    forces : ndarray, (n, n_atoms, 3), float32
        kJ/mol/nm, not finite where there are none.
    failures : ndarray of str, (n,)
        Why there are none, empty where all is well.
    """

    energies: np.ndarray
    forces: np.ndarray
    failures: np.ndarray

    @property
    def good(self) -> np.ndarray:
        """Which conformations have energies and forces, (n,) bool."""
        return self.failures == ""

    def counted(self) -> dict[str, int]:
        """Return how many failed for which reason."""
        return dict(Counter(self.failures[~self.good].tolist()).most_common())


def label_frames(
    system: MolecularSystem,
    positions: np.ndarray,
    jobs: Jobs = None,
    parts: Path | None = None,
    what: str = "labelling",
    progress: bool = True,
) -> Labels:
    """Return energies and forces of conformations under a system's force field or potential.

    Molecules whose bonds broke or that reacted are not asked about. Labels do not depend on the
    number of processes nor on interruptions.

    Parameters
    ----------
    system : MolecularSystem
        All atoms.
    positions : ndarray, (n, n_atoms, 3)
        nm.
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`; by default one per core.
    parts : Path, optional
        Folder for finished parts, which are taken from there the next time.
    what : str
        For the progress bar and the names of parts.

    Raises
    ------
    MolflowError
        If the system cannot be built or the positions are not its.
    """
    positions = checked_positions(system, positions)
    failures = np.full(len(positions), "", dtype=object)
    if not system.periodic:  # a box has images, and its solvent drifts through them
        topology = with_bonds(system.topology(), system.start_positions())
        failures[:] = changed_bonds(topology, positions)
    whole = np.flatnonzero(failures == "")
    energies = np.full(len(positions), np.inf)
    forces = np.full(positions.shape, np.nan, dtype=np.float32)
    size = part_size(system, len(whole))
    pieces = np.split(whole, range(size, len(whole), size)) if len(whole) else []
    # By their first conformation, so that parts of another size are never taken for these.
    paths = [None if parts is None else parts / f"{what}-{rows[0]:07d}.npz" for rows in pieces]
    stored = {k: kept for k, path in enumerate(paths) if (kept := _kept(path, pieces[k]))}
    todo = [k for k in range(len(pieces)) if k not in stored]
    count = sum(len(pieces[k]) for k in todo)
    with EnergyWorkers(system, sensible_jobs(system, count, jobs)) as workers:
        found = workers.each((k, positions[pieces[k]]) for k in todo)
        for k, labels in track(found, what, progress, len(todo)):
            assert labels.forces is not None, "they were asked for"
            stored[k] = {
                "energies": labels.energies,
                "forces": labels.forces.astype(np.float32),
                "failures": np.array(labels.failures, dtype=np.str_),
            }
            if (path := paths[k]) is not None:
                write_arrays(path, **stored[k])
    for k, rows in enumerate(pieces):
        energies[rows], forces[rows] = stored[k]["energies"], stored[k]["forces"]
        failures[rows] = stored[k]["failures"].astype(object)
    return Labels(energies, forces, failures.astype(np.str_))


def _kept(path: Path | None, rows: np.ndarray) -> dict[str, np.ndarray] | None:
    """Return the labels of a part that is done, None if there are none of so many frames."""
    stored = kept_arrays(path)
    return None if stored is None or len(stored["energies"]) != len(rows) else stored
