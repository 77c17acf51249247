"""Reading an ensemble with what stands beside it, and fitting its atoms to a reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import mdtraj
import numpy as np

from molflow.analysis.files.atom_matching import match_atoms, matching_notes
from molflow.analysis.files.formats import (
    BARE,
    COMPLETE,
    HELD,
    format_of,
    opened,
    read_topology,
    readable,
    rest_of_text,
    whole_frames,
)
from molflow.analysis.weighting import checked_log_weights
from molflow.errors import MolflowError
from molflow.files import check_hdf5, read_arrays, read_json, reader, sha256_of

#: Formats that hold the times of frames.
_TIMED = (".xtc", ".trr", ".nc", ".ncdf", ".netcdf", ".h5", ".hdf5")


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
    flaws : list of str
        Those of the notes that are of the file's contents, not of what stands beside it.
    order : ndarray, (n_atoms,) int, or None
        Where each atom of `topology` stands in the file, if not at its own place.
    in_file : mdtraj.Topology or None
        Of all atoms of the file, if `topology` has others.
    stamp : tuple of int or None
        What changes when the file is replaced or written to.
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
    flaws: list[str] = field(default_factory=list)
    order: np.ndarray | None = None
    in_file: mdtraj.Topology | None = None
    stamp: tuple[int, ...] | None = None

    def check_unchanged(self) -> None:
        """Make sure that the file is the one that was opened.

        Raises
        ------
        MolflowError
            If it was replaced, changed or removed meanwhile.
        """
        if self.path is not None and _stamp(self.path) != self.stamp:
            raise MolflowError(
                f"'{self.path}' was replaced or changed while it was read, so that what was found "
                "is of no one file: wait until it is finished and give the command again."
            )

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
                part = mdtraj.Trajectory(
                    part.xyz[:, self.order], self.topology, part.time,
                    part.unitcell_lengths, part.unitcell_angles,
                )  # fmt: skip
            yield part

    def _in_file_order(self, size: int) -> Iterator[mdtraj.Trajectory]:
        if self.held is not None:
            for start in range(0, self.n, size):
                yield self.held[start : start + size]
            return
        assert self.path is not None, "what is not held comes from a file"
        # For reading, a topology need not know the order of the atoms, only their number.
        bare = format_of(self.path) in BARE
        top = (self.in_file or self.topology,) if bare else ()
        with opened(self.path) as file:
            for start in range(0, self.n, size):  # not to the end, which may be a part of a frame
                yield file.read_as_traj(*top, n_frames=min(size, self.n - start))

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
        places = order if self.order is None else self.order[order]
        whole = self.in_file or self.topology
        found = replace(self, notes=notes, order=places, topology=topology, in_file=whole)
        return found, atoms[order]

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
        if self.n < 2 or not self.timed:
            return None
        return interval_of(next(self.chunks(2)).time)

    @property
    def timed(self) -> bool:
        """Whether the file holds times and not only an order."""
        return self.path is None or format_of(self.path) in _TIMED


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def interval_of(times: np.ndarray) -> float | None:
    """Return the time between frames at some times (n,), None unless they are equally spaced."""
    times = np.asarray(times, np.float64)
    if len(times) < 2:
        return None
    steps = np.diff(times)
    step = float(np.median(steps))
    # Single precision rounds times of long trajectories.
    error = 1e-3 * abs(step) + 4 * np.finfo(np.float32).eps * np.abs(times).max()
    if not step > 0 or np.any(np.abs(steps - step) > error):
        return None
    return float(f"{(times[-1] - times[0]) / len(steps):.6g}")


@reader
def read_ensemble(source: str | Path | mdtraj.Trajectory, top: str | Path | None) -> EnsembleFile:
    """Open an ensemble.

    Parameters
    ----------
    source : path or mdtraj.Trajectory
        Of a format in `molflow.analysis.files.formats`.
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
        found = _without_extra_particles(found)
    else:
        found = _open(Path(source), top)
    if found.n == 0:
        raise MolflowError(f"the ensemble '{source}' has no conformations: nothing can be judged.")
    return found


def _open(path: Path, top: str | Path | None) -> EnsembleFile:
    if not path.exists():
        raise MolflowError(f"there is no ensemble '{path}': check its path.")
    kind = format_of(path)
    if kind not in BARE + COMPLETE:
        packed = path.suffix.lower() in (".gz", ".bz2", ".xz", ".zip", ".zst")
        raise MolflowError(
            f"the ensemble '{path}' is not a trajectory that can be read here: "
            f"{'unpack it first, or ' if packed else ''}give a file that ends in "
            f"{', '.join(BARE + COMPLETE)}."
        )
    if not path.is_file():
        raise MolflowError(f"the ensemble '{path}' is a folder: give a file in it.")
    check_hdf5(path)
    topology, stamp = None, _stamp(path)
    if kind in BARE:
        source = Path(top) if top is not None else path.with_name("topology.pdb")
        if not source.is_file():
            raise MolflowError(
                f"the topology '{source}' of the ensemble '{path}' does not exist: "
                "give a file with the same atoms (PDB, PSF, PRMTOP or GRO) as 'top'."
            )
        topology = read_topology(source)
    bare = {} if topology is None else {"top": topology}
    if kind in HELD:
        with readable(path) as plain:
            held = mdtraj.load(str(plain), **bare)
        flaws = rest_of_text(path, held)
        found = EnsembleFile(held.topology, held.n_frames, path, held, flaws=flaws, stamp=stamp)
    else:
        with opened(path) as file:  # once: another process may have to start for it
            n, flaws = whole_frames(path, file)
            if n:
                file.read_as_traj(*bare.values(), n_frames=1)
            if topology is None:
                topology = file.topology
            weights = file.array("log_weights") if kind in (".h5", ".hdf5") else None
        found = EnsembleFile(topology, n, path, flaws=flaws, log_weights=weights, stamp=stamp)
    found = _with_sidecars(_without_extra_particles(found), path)
    found.check_unchanged()
    return found


def _without_extra_particles(found: EnsembleFile) -> EnsembleFile:
    """Return the ensemble without particles that are no atoms, among others that are.

    Those without an element or called virtual: Drude particles, lone pairs, sites of charge.
    Molecules of beads alone stay as they are.
    """
    extra = np.array(
        [a.element is None or not a.element.atomic_number for a in found.topology.atoms], bool
    )
    if not extra.any() or extra.all():
        return found
    atoms = np.flatnonzero(~extra)
    names = list(dict.fromkeys(found.topology.atom(int(i)).name for i in np.flatnonzero(extra)))
    more = " and others" if len(names) > 4 else ""
    note = (
        f"{int(extra.sum())} particles without an element ({', '.join(names[:4])}{more}) were left "
        "out: Drude particles, lone pairs and virtual sites are not judged."
    )
    return replace(
        found, topology=found.topology.subset(atoms), order=atoms, in_file=found.topology,
        notes=[*found.notes, note], flaws=[*found.flaws, note],
    )  # fmt: skip


def _with_sidecars(found: EnsembleFile, path: Path) -> EnsembleFile:
    notes = list(found.flaws)
    named = f"the ensemble '{path.name}'"
    energies, weights = None, found.log_weights
    if weights is not None:
        weights = checked_log_weights(weights, found.n, named)
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
        weights = checked_log_weights(arrays["log_weights"], found.n, named)
    if record and arrays:
        energies = arrays.get("energies")
        if energies is not None and energies.shape != (found.n,):
            notes.append(f"{stored.name} does not have one energy per conformation: not used.")
            energies = None
    return replace(
        found, record=record, energies=energies, log_weights=weights, sha256=digest, notes=notes
    )
