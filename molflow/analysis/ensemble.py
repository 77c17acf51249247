"""Reading an ensemble with what stands beside it, and fitting its atoms to a reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import mdtraj
import numpy as np

from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json, sha256_of

#: Trajectory formats that need a topology, and those that bring their own.
_BARE, _COMPLETE = (".dcd", ".xtc"), (".h5", ".pdb")


@dataclass(frozen=True)
class EnsembleFile:
    """A trajectory, where it is from, and what its sidecar files say.

    Attributes
    ----------
    trajectory : mdtraj.Trajectory
    path : Path or None
        None for a trajectory from memory.
    record : dict
        Contents of the ``.json`` beside the trajectory, empty if there is none that belongs to
        these very bytes.
    energies : ndarray, (n,), or None
        Stored potential energies, kJ/mol.
    sha256 : str or None
        Of the trajectory file.
    notes : list of str
        What the reader should know.
    """

    trajectory: mdtraj.Trajectory
    path: Path | None = None
    record: dict = field(default_factory=dict)
    energies: np.ndarray | None = None
    sha256: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def rounded(self) -> bool:
        """Whether the format rounds positions to 0.001 nm."""
        return self.path is not None and self.path.suffix.lower() == ".xtc"


def read_ensemble(source: str | Path | mdtraj.Trajectory, top: str | Path | None) -> EnsembleFile:
    """Read an ensemble.

    Parameters
    ----------
    source : path or mdtraj.Trajectory
        A ``.dcd``, ``.xtc``, ``.h5`` or ``.pdb`` file.
    top : path, optional
        Topology of a ``.dcd`` or ``.xtc``; by default ``topology.pdb`` beside it.

    Raises
    ------
    MolflowError
        If a file is missing or cannot be read, or there are no conformations.
    """
    if isinstance(source, mdtraj.Trajectory):
        note = "The ensemble came from memory: its origin is unknown."
        found = EnsembleFile(source, notes=[note])
    else:
        found = _read_file(Path(source), top)
    if found.trajectory.n_frames == 0:
        raise MolflowError(f"the ensemble '{source}' has no conformations: nothing can be judged.")
    return found


def _read_file(path: Path, top: str | Path | None) -> EnsembleFile:
    suffix = path.suffix.lower()
    if suffix not in _BARE + _COMPLETE:
        raise MolflowError(
            f"the ensemble '{path}' is not a trajectory that can be read here: "
            f"give a file that ends in {', '.join(_BARE + _COMPLETE)}."
        )
    if not path.is_file():
        raise MolflowError(f"there is no ensemble '{path}'.")
    arguments = {}
    if suffix in _BARE:
        topology = Path(top) if top is not None else path.with_name("topology.pdb")
        if not topology.is_file():
            raise MolflowError(
                f"the topology '{topology}' of the ensemble '{path}' does not exist: "
                "give a PDB file with the same atoms as 'top'."
            )
        arguments["top"] = str(topology)
    try:
        trajectory = mdtraj.load(str(path), **arguments)
    except Exception as error:  # the readers of mdtraj raise all kinds
        raise MolflowError(
            f"the ensemble '{path}' cannot be read: {str(error).strip() or type(error).__name__}"
        ) from error
    return _with_sidecars(trajectory, path)


def _with_sidecars(trajectory: mdtraj.Trajectory, path: Path) -> EnsembleFile:
    digest, notes, energies = sha256_of(path), [], None
    sidecar = path.with_suffix(".json")
    record = read_json(sidecar) if sidecar.is_file() else {}
    if not isinstance(record, dict) or (record and record.get("trajectory_sha256") != digest):
        notes.append(
            f"{sidecar.name} beside the ensemble belongs to another file (its sha256 differs), so "
            "it and stored energies were not used."
        )
        record = {}
    elif not record:
        notes.append("There is no record beside the ensemble: its origin is unknown.")
    stored = path.with_suffix(".npz")
    if record and stored.is_file():
        energies = read_arrays(stored).get("energies")
        if energies is not None and energies.shape != (trajectory.n_frames,):
            notes.append(f"{stored.name} does not have one energy per conformation: not used.")
            energies = None
    return EnsembleFile(trajectory, path, record, energies, digest, notes)


def match_atoms(topology: mdtraj.Topology, reference: mdtraj.Topology) -> np.ndarray:
    """Return which atoms of the reference an ensemble has, (n_atoms,) int.

    Raises
    ------
    MolflowError
        If an atom is not in the reference by residue and name, or the order differs.
    """

    def labels(t: mdtraj.Topology) -> list[tuple]:
        return [(atom.residue.resSeq, atom.residue.name, atom.name) for atom in t.atoms]

    own, place = labels(topology), {label: i for i, label in enumerate(labels(reference))}
    unknown = [label for label in own if label not in place]
    if unknown:
        number, residue, name = unknown[0]
        raise MolflowError(
            f"the ensemble has {len(own)} atoms and the reference {len(place)}, and "
            f"{len(unknown)} of the ensemble's are not in the reference, the first being atom "
            f"'{name}' of residue {residue} {number}: give the topology of the same molecule, "
            "with the atom names that mdtraj gives to a PDB file."
        )
    atoms = np.array([place[label] for label in own])
    if np.any(np.diff(atoms) <= 0):
        raise MolflowError(
            "the atoms of the ensemble are not in the order of the reference: "
            "reorder them (mdtraj's atom_slice does it)."
        )
    return atoms
