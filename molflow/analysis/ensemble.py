"""Reading an ensemble with what stands beside it, and fitting its atoms to a reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import mdtraj
import numpy as np

from molflow.analysis.atom_matching import match_atoms, matching_notes
from molflow.analysis.weighting import checked_log_weights
from molflow.errors import MolflowError
from molflow.files import check_hdf5, read_arrays, read_json, sha256_of

#: Trajectory formats that need a topology, and those that bring their own.
BARE, COMPLETE = (".dcd", ".xtc", ".trr", ".nc"), (".h5", ".pdb", ".gro")
#: Formats that are read at once, because they are text.
_TEXT = (".pdb", ".gro")


@dataclass(frozen=True)
class EnsembleFile:
    """A trajectory, where it is from, and what its sidecar files say.

    Attributes
    ----------
    topology : mdtraj.Topology
    n : int
        Number of conformations.
    path : Path or None
        None for a trajectory from memory.
    held : mdtraj.Trajectory or None
        The conformations, if they are in memory.
    record : dict
        Contents of the ``.json`` beside the trajectory, empty if there is none that belongs to
        these very bytes.
    energies : ndarray, (n,), or None
        Stored potential energies, kJ/mol.
    log_weights : ndarray, (n,), or None
        Logarithms of the weights of the conformations, up to a constant; None for equal ones.
    sha256 : str or None
        Of the trajectory file.
    notes : list of str
        What the reader should know.
    order : ndarray, (n_atoms,) int, or None
        Where each atom of `topology` stands in the file, if not at its own place.
    """

    topology: mdtraj.Topology
    n: int
    path: Path | None = None
    held: mdtraj.Trajectory | None = None
    record: dict = field(default_factory=dict)
    energies: np.ndarray | None = None
    log_weights: np.ndarray | None = None
    sha256: str | None = None
    notes: list[str] = field(default_factory=list)
    order: np.ndarray | None = None

    @property
    def rounded(self) -> bool:
        """Whether the format rounds positions to 0.001 nm."""
        return self.path is not None and self.path.suffix.lower() in (".xtc", ".gro")

    def chunks(self, size: int) -> Iterator[mdtraj.Trajectory]:
        """Yield consecutive conformations, at most `size` at a time; binary files are streamed.

        Raises
        ------
        MolflowError
            If the file cannot be read to its end.
        """
        for part in self._in_file_order(size):
            if self.order is not None:
                part.xyz = part.xyz[:, self.order]
                part.topology = self.topology
            yield part

    def _in_file_order(self, size: int) -> Iterator[mdtraj.Trajectory]:
        if self.held is not None:
            for start in range(0, self.n, size):
                yield self.held[start : start + size]
            return
        assert self.path is not None, "what is not held comes from a file"
        # For reading, a topology need not know the order of the atoms, only their number.
        top = {} if self.path.suffix.lower() in COMPLETE else {"top": self.topology}
        with _readable(self.path):
            yield from mdtraj.iterload(str(self.path), chunk=size, **top)

    def in_order_of(self, reference: mdtraj.Topology) -> tuple[EnsembleFile, np.ndarray]:
        """Return the ensemble with its atoms in the order of a reference, and which they are.

        Returns
        -------
        EnsembleFile
            With a note if the order was another or residues are named otherwise.
        ndarray, (n_atoms,) int
            Atoms of the reference, sorted.

        Raises
        ------
        MolflowError
            If the atoms cannot be matched.
        """
        atoms = match_atoms(self.topology, reference)
        notes = [*self.notes, *matching_notes(self.topology, reference, atoms)]
        order = np.argsort(atoms, kind="stable")
        if np.array_equal(order, np.arange(len(order))):
            return replace(self, notes=notes), atoms
        topology = reference.subset(atoms[order])
        return replace(self, notes=notes, order=order, topology=topology), atoms[order]

    def positions_at(self, samples: np.ndarray) -> np.ndarray:
        """Return positions (k, n_atoms, 3) in nm of some samples (k,), sorted; streamed.

        Raises
        ------
        MolflowError
            If the file cannot be read as far as the last of them.
        """
        found, start = [], 0
        for part in self.chunks(1000):
            here = samples[(samples >= start) & (samples < start + part.n_frames)]
            found.append(part.xyz[here - start])
            start += part.n_frames
            if not len(samples) or start > samples[-1]:
                break
        return np.concatenate(found)

    @cached_property
    def frame_interval_ps(self) -> float | None:
        """Time between conformations in ps, if the file tells it (a DCD file does not)."""
        if self.n < 2 or (self.path is not None and self.path.suffix.lower() in (".dcd", *_TEXT)):
            return None
        times = next(self.chunks(2)).time
        step = float(times[1] - times[0])
        return step if step > 0 else None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the readers of mdtraj raise all kinds
        raise MolflowError(
            f"the trajectory '{path}' cannot be read: {str(error).strip() or type(error).__name__}"
        ) from error


def read_ensemble(source: str | Path | mdtraj.Trajectory, top: str | Path | None) -> EnsembleFile:
    """Open an ensemble.

    Parameters
    ----------
    source : path or mdtraj.Trajectory
        A ``.dcd``, ``.xtc``, ``.trr``, ``.nc``, ``.h5``, ``.pdb`` or ``.gro`` file.
    top : path, optional
        Topology of a file that has none of its own (PDB, PSF, PRMTOP, GRO …); by default
        ``topology.pdb`` beside it.

    Raises
    ------
    MolflowError
        If a file is missing or cannot be read, or there are no conformations.
    """
    if isinstance(source, mdtraj.Trajectory):
        note = "The ensemble came from memory: its origin is unknown."
        found = EnsembleFile(source.topology, source.n_frames, held=source, notes=[note])
    else:
        found = _open(Path(source), top)
    if found.n == 0:
        raise MolflowError(f"the ensemble '{source}' has no conformations: nothing can be judged.")
    return found


def _open(path: Path, top: str | Path | None) -> EnsembleFile:
    suffix = path.suffix.lower()
    if suffix not in BARE + COMPLETE:
        raise MolflowError(
            f"the ensemble '{path}' is not a trajectory that can be read here: "
            f"give a file that ends in {', '.join(BARE + COMPLETE)}."
        )
    if not path.is_file():
        raise MolflowError(f"there is no ensemble '{path}'.")
    check_hdf5(path)
    if suffix in BARE:
        source = Path(top) if top is not None else path.with_name("topology.pdb")
        if not source.is_file():
            raise MolflowError(
                f"the topology '{source}' of the ensemble '{path}' does not exist: "
                "give a file with the same atoms (PDB, PSF, PRMTOP or GRO) as 'top'."
            )
    else:
        source = path
    held = None
    with _readable(source):
        if suffix in _TEXT:
            held = mdtraj.load(str(path))
        topology = held.topology if held is not None else mdtraj.load_topology(str(source))
    with _readable(path):
        if held is not None:
            n = held.n_frames
        else:
            with mdtraj.open(str(path)) as file:
                n = len(file)
            if n:
                next(mdtraj.iterload(
                    str(path), chunk=1, **({"top": topology} if suffix in BARE else {})
                ))  # fmt: skip
    return _with_sidecars(EnsembleFile(topology, n, path, held), path)


def _with_sidecars(found: EnsembleFile, path: Path) -> EnsembleFile:
    notes: list[str] = []
    energies, weights = None, stored_log_weights(found)
    digest, sidecar = sha256_of(path), path.with_suffix(".json")
    record: dict = {}
    if sidecar.is_file():
        try:
            record = read_json(sidecar)
        except MolflowError:
            record = {"of another program": True}
    if not isinstance(record, dict) or (record and record.get("trajectory_sha256") != digest):
        notes.append(
            f"{sidecar.name} beside the ensemble belongs to another file (its sha256 differs), so "
            "it and stored energies were not used."
        )
        record = {}
    elif not record:
        notes.append("There is no record beside the ensemble: its origin is unknown.")
    stored = path.with_suffix(".npz")
    arrays = read_arrays(stored) if stored.is_file() and (record or weights is None) else {}
    if not record and "log_weights" in arrays:
        notes.append(
            f"{stored.name} beside the ensemble holds weights, which were not used, since no "
            f"record says that they belong to it: if they do, give them as weights ({stored.name})."
        )
    elif weights is None and "log_weights" in arrays:
        weights = checked_log_weights(
            arrays["log_weights"], found.n, f"the ensemble '{path.name}'"
        )
    if record and arrays:
        energies = arrays.get("energies")
        if energies is not None and energies.shape != (found.n,):
            notes.append(f"{stored.name} does not have one energy per conformation: not used.")
            energies = None
    return replace(
        found, record=record, energies=energies, log_weights=weights, sha256=digest, notes=notes
    )


def stored_log_weights(found: EnsembleFile) -> np.ndarray | None:
    """Return the logarithms of weights that an HDF5 trajectory itself holds, (n,), or None.

    Raises
    ------
    MolflowError
        If they do not fit the conformations.
    """
    if found.path is None or found.path.suffix.lower() != ".h5":
        return None
    import tables

    with _readable(found.path), tables.open_file(str(found.path)) as file:
        if "/log_weights" not in file:
            return None
        stored = file.root.log_weights[:]
    return checked_log_weights(stored, found.n, f"the ensemble '{found.path.name}'")
