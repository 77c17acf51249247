"""Trajectories that were made elsewhere, as a simulation folder that every verb reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mdtraj
import numpy as np

import molflow
from molflow.analysis.files.ensemble import EnsembleFile, read_ensemble
from molflow.analysis.files.weight_files import read_log_weights
from molflow.analysis.molecule.stereo import handedness, stereocentres
from molflow.analysis.statistics import torsion_inefficiency
from molflow.analysis.torsion_list import measure_torsions, torsion_list
from molflow.errors import MolflowError
from molflow.files import (
    read_json,
    replacing,
    sha256_of,
    writable_folder,
    write_arrays,
    write_json,
)
from molflow.systems import MolecularSystem, load_system
from molflow.trajectories import write_trajectory
from molflow.units import parse_quantity

#: Runs that fewer trajectories are cut into, for training, validation and what is held out.
_RUNS = 5
#: nm; a longer bond is cut by the box, or broken.
_LONGEST_BOND = 0.3
#: Statistical inefficiencies of the torsions that lie between blocks, and their largest share.
_GAP, _LARGEST_GAP = 2.0, 0.1
#: What the folder says of where its frames come from.
ORIGIN = "made elsewhere"


def gather(
    files: Sequence[str | Path],
    system: str | Path | MolecularSystem,
    out: str | Path,
    *,
    temperature: str | float,
    frame_interval: str | float,
    top: str | Path | None = None,
    weights: str | Path | np.ndarray | None = None,
    energies: bool = True,
) -> Path:
    """Make a simulation folder of trajectories that other programs wrote.

    Atoms are put into the system's order by residue and name; further residues, such as water, are
    left out. Fewer than three files are cut into blocks, with a gap between them of two
    statistical inefficiencies of the torsions.

    Parameters
    ----------
    files : sequence of path
        Whatever `molflow.compare` reads: DCD, XTC, TRR, NetCDF, HDF5, PDB or GRO; each an
        independent run.
    system : str, Path or MolecularSystem
        What they are of. A selection is made later, by `molflow.prepare`.
    out : path
        Folder to write.
    temperature : str or float
        Of the frames, K; that of the system.
    frame_interval : str or float
        Time between frames, ps.
    top : path, optional
        Topology (PDB, PSF, PRMTOP, GRO) of files without one.
    weights : path or ndarray, optional
        Of all frames of all files in order, see
        `molflow.analysis.files.weight_files.read_log_weights`.
    energies : bool
        Whether to compute potential energies, where the system gives them to single frames.

    Returns
    -------
    Path
        `out`, as `molflow.simulate` would have written it. How the frames were made is not known,
        so that it says nothing about kinetics.

    Raises
    ------
    MolflowError
        If atoms cannot be mapped, frames are broken, of another hand or too few, the temperature
        is another one, or `out` holds another simulation.
    """
    if not isinstance(system, MolecularSystem):
        system = load_system(system)
    if system.variant is not None:
        system = load_system(system.folder)
    interval = parse_quantity(frame_interval, "time", "frame_interval")
    if not interval > 0:
        raise MolflowError(f"frame_interval is {frame_interval}: give a time above 0.")
    kelvin = parse_quantity(temperature, "temperature", "temperature")
    if abs(kelvin - system.temperature) > 0.01:
        raise MolflowError(
            f"the frames are of {kelvin:g} K, and the system '{system.name}' is at "
            f"{system.temperature:g} K: give them the same temperature."
        )
    topology = mdtraj.load_topology(str(system.structure_path))
    trajectories, notes = [], []
    for file in files:
        given = read_ensemble(file, top)
        trajectories.append(_mapped(given, topology, system))
    check_frames(trajectories, files, topology, system)
    count = sum(map(len, trajectories))
    logs = None if weights is None else read_log_weights(weights, count, "the frames")
    parts = None if logs is None else np.split(logs, np.cumsum([*map(len, trajectories)])[:-1])
    runs, gap = _runs(trajectories, parts, topology)
    if gap:
        notes.append(
            f"{len(files)} trajectories were cut into {len(runs)} blocks with {gap} frames between "
            "them: blocks of one trajectory know more of each other than independent runs."
        )
    manifest = {
        **system.record,
        "system": system.name,
        "temperature": system.temperature,
        "frame_interval_ps": interval,
        "replicas": len(runs),
        "origin": ORIGIN,
        "files": [
            {"name": Path(file).name, "frames": len(t), "sha256": sha256_of(file)}
            for file, t in zip(files, trajectories, strict=True)
        ],
        "weighted": logs is not None,
        "gap_frames": gap,
        "notes": notes,
        "versions": {"molflow": molflow.__version__},
        "status": "finished",
    }
    return _write(Path(out), manifest, runs, topology, system, energies)


def _mapped(
    given: EnsembleFile, topology: mdtraj.Topology, system: MolecularSystem
) -> np.ndarray:
    """Return positions (frames, atoms, 3) nm in the order of the system's atoms."""
    atoms = atom_order(given.topology, topology, f"'{given.path}'", system.name)
    parts = []
    for chunk in given.chunks(1000):
        xyz = chunk.xyz[:, atoms]
        cut = _longest_bonds(xyz, topology).max() > _LONGEST_BOND
        if cut and chunk.unitcell_lengths is not None:
            boxed = mdtraj.Trajectory(
                xyz, topology, unitcell_lengths=chunk.unitcell_lengths,
                unitcell_angles=chunk.unitcell_angles,
            )  # fmt: skip
            xyz = boxed.make_molecules_whole(inplace=False).xyz
        parts.append(xyz.astype(np.float32))
    return np.concatenate(parts)


def atom_order(
    given: mdtraj.Topology, wanted: mdtraj.Topology, name: str, system: str
) -> np.ndarray:
    """Return which atoms of a file are the system's, in the system's order, (n_atoms,) int.

    The residues of the system are looked for one after the other among those of the file, by the
    names of their atoms; the order of atoms within a residue does not matter.

    Raises
    ------
    MolflowError
        If they are not there, or there more than once.
    """
    theirs = [{atom.name: atom.index for atom in residue.atoms} for residue in given.residues]
    ours = [[atom.name for atom in residue.atoms] for residue in wanted.residues]
    places = [
        start for start in range(len(theirs) - len(ours) + 1)
        if all(theirs[start + k].keys() == set(names) for k, names in enumerate(ours))
    ]  # fmt: skip
    if len(places) == 1:
        return np.array([theirs[places[0] + k][n] for k, row in enumerate(ours) for n in row])
    if len(places) > 1:
        raise MolflowError(
            f"{name} holds the molecule '{system}' {len(places)} times: give a topology and "
            "trajectory of one of them."
        )
    elements = [[atom.element for atom in t.atoms] for t in (given, wanted)]
    bonds = [{(a.index, b.index) for a, b in t.bonds} for t in (given, wanted)]
    alike = len(ours) == len(theirs) == 1 or (bonds[0] and bonds[0] == bonds[1])
    if elements[0] == elements[1] and alike:
        return np.arange(wanted.n_atoms)  # one molecule, atom by atom, under other names
    closest = max(theirs, key=lambda residue: len(residue.keys() & set(ours[0])), default={})
    missing = sorted(set(ours[0]) - closest.keys()) or sorted(closest.keys() - set(ours[0]))
    raise MolflowError(
        f"the atoms of '{system}' are not in {name}: "
        f"of its first residue {wanted.residue(0)} {', '.join(missing[:4]) or 'the neighbours'} "
        "cannot be matched by name; give a topology with the names of the system's structure."
    )


def check_frames(
    trajectories: list[np.ndarray], files: Sequence[str | Path], topology, system: MolecularSystem
) -> None:
    """Raise `MolflowError` if a frame is not finite, broken, or of another hand than the system."""
    centres = stereocentres(topology)
    right = handedness(system.start_positions()[None], centres)[0] if centres else None
    for xyz, file in zip(trajectories, files, strict=True):
        bad = np.flatnonzero(~np.isfinite(xyz).all(axis=(1, 2)))
        if len(bad):
            raise MolflowError(
                f"{len(bad)} of {len(xyz)} frames of '{file}' are not finite, the first is frame "
                f"{bad[0]}: leave them out."
            )
        broken = np.flatnonzero(_longest_bonds(xyz, topology) > _LONGEST_BOND)
        if len(broken):
            raise MolflowError(
                f"{len(broken)} of {len(xyz)} frames of '{file}' have a bond longer than "
                f"{_LONGEST_BOND} nm, the first is frame {broken[0]}: make molecules whole that "
                "the box cuts, or see that topology and trajectory belong together."
            )
        if right is not None:
            wrong = np.flatnonzero((handedness(xyz, centres) != right).any(axis=1))
            if len(wrong):
                raise MolflowError(
                    f"{len(wrong)} of {len(xyz)} frames of '{file}' have another hand than the "
                    f"structure of '{system.name}', the first is frame {wrong[0]}: are they of "
                    "the same molecule?"
                )


def _longest_bonds(xyz: np.ndarray, topology: mdtraj.Topology) -> np.ndarray:
    pairs = np.array([(a.index, b.index) for a, b in topology.bonds], int).reshape(-1, 2)
    if not len(pairs):
        return np.zeros(len(xyz))
    lengths = [np.linalg.norm(frame[pairs[:, 0]] - frame[pairs[:, 1]], axis=1) for frame in xyz]
    return np.max(lengths, axis=1)


def _runs(trajectories, weights, topology) -> tuple[list[tuple], int]:
    """Return positions, first frame and weights of every run, and the gap between blocks."""
    parts = [None] * len(trajectories) if weights is None else weights
    if len(trajectories) >= 3:
        return [(xyz, 0, part) for xyz, part in zip(trajectories, parts, strict=True)], 0
    found = torsion_list(topology)
    slowest = max(
        torsion_inefficiency(measure_torsions(xyz, found), phi=()) for xyz in trajectories
    )
    blocks = -(-_RUNS // len(trajectories))
    shortest = min(map(len, trajectories)) // blocks
    gap = int(np.clip(np.ceil(_GAP * slowest), 1, max(1, _LARGEST_GAP * shortest)))
    if shortest - gap < 2:
        raise MolflowError(
            f"{min(map(len, trajectories))} frames are too few to cut into {blocks} blocks for "
            "training, validation and what is held out: give longer trajectories, or at least "
            "three."
        )
    runs = []
    for xyz, part in zip(trajectories, parts, strict=True):
        for frames in np.array_split(np.arange(len(xyz)), blocks):
            kept = frames[: len(frames) - gap] if frames[-1] < len(xyz) - 1 else frames
            runs.append((xyz[kept], int(kept[0]), None if part is None else part[kept]))
    return runs, gap


def _write(out: Path, manifest, runs, topology, system, energies: bool) -> Path:
    out = writable_folder(out)
    path = out / "simulation.json"
    if path.exists():
        stored = read_json(path)
        same = ("ensemble_hash", "files", "replicas", "gap_frames", "frame_interval_ps")
        if any(stored.get(key) != manifest[key] for key in same):
            raise MolflowError(f"'{out}' holds another simulation: choose another folder.")
    with replacing(out / "topology.pdb") as temporary:
        mdtraj.Trajectory(system.start_positions(), topology).save_pdb(str(temporary))
    known = energies and not system.periodic and system.pressure is None
    hashes: dict[str, str] = {}
    for k, (xyz, first, logs) in enumerate(runs):
        write_trajectory(out / f"replica-{k}.dcd", xyz, topology)
        arrays = {"times": manifest["frame_interval_ps"] * np.arange(first, first + len(xyz))}
        if known:
            from molflow.md.energies import potential_energies

            arrays["energies"] = potential_energies(system, xyz)
        if logs is not None:
            arrays["log_weights"] = logs
        write_arrays(out / f"replica-{k}.npz", **arrays)
        names = f"replica-{k}.dcd", f"replica-{k}.npz"
        hashes |= {name: sha256_of(out / name) for name in names}
    runs_said = [{"frames": len(xyz), "first_frame": first} for xyz, first, _ in runs]
    write_json(path, manifest | {"runs": runs_said, "sha256": hashes})
    return out
