"""From the segments of a replica to one trajectory and one file of energies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from molflow.analysis.statistics import torsion_inefficiency
from molflow.errors import MolflowError
from molflow.files import ascii_path, read_arrays, replacing, write_arrays
from molflow.md.replica import ReplicaPlan, segment_path
from molflow.md.torsions import backbone_torsions, torsion
from molflow.systems import MolecularSystem
from molflow.trajectories import finish_dcd


def segments(folder: Path, plan: ReplicaPlan, n_atoms: int):
    """Yield the arrays of every segment in order.

    Raises
    ------
    MolflowError
        If a segment is missing, damaged or does not hold what the plan says.
    """
    for index in range(plan.segments):
        path = segment_path(folder, index)
        arrays = read_arrays(path)
        count = min(plan.segment_frames, plan.frames - index * plan.segment_frames)
        if arrays["positions"].shape != (count, n_atoms, 3) or len(arrays["energies"]) != count:
            raise MolflowError(
                f"'{path}' holds {len(arrays['energies'])} frames where {count} of {n_atoms} atoms "
                "belong: it is of another simulation; choose another folder."
            )
        yield arrays


def flattened_angles(
    system: MolecularSystem, folder: Path, plan: ReplicaPlan
) -> tuple[np.ndarray, np.ndarray]:
    """Return the torsions (F, T) in rad that a replica's bias is in, and the log weights (F,)."""
    assert plan.flattening is not None, "log weights come from a bias"
    chosen = [list(atoms) for atoms in plan.flattening.torsions]
    angles, weights = [], []
    for arrays in segments(folder, plan, len(system.start_positions())):
        here = [torsion(arrays["positions"], atoms) for atoms in chosen]
        angles.append(np.stack(here, axis=1))
        weights.append(arrays["log_weights"])
    return np.concatenate(angles), np.concatenate(weights)


def assemble_replica(
    system: MolecularSystem, folder: Path, plan: ReplicaPlan, trajectory: Path, energies: Path
) -> dict:
    """Write one replica's DCD and npz files, and return its summary.

    The npz file holds ``energies`` (F,) kJ/mol in double precision, ``times`` (F,) ps counted
    from the end of equilibration, ``walkers`` (F,), and ``moved`` (segments,), the share of
    walkers that an exchange moved; under a bias also ``log_weights`` (F,).
    """
    from mdtraj.formats import DCDTrajectoryFile

    n_atoms = len(system.start_positions())
    torsions = [atoms for group in backbone_torsions(system) for atoms in group]
    angles: list[list[np.ndarray]] = [[] for _ in torsions]
    scalars: dict[str, list] = {"energies": [], "walkers": [], "moved": []}
    if plan.flattening is not None:
        scalars["log_weights"] = []
    with replacing(trajectory) as temporary:
        with ascii_path(temporary) as plain, DCDTrajectoryFile(str(plain), "w") as file:
            for arrays in segments(folder, plan, n_atoms):
                file.write(arrays["positions"] * 10.0)  # DCD is in Angstrom
                for series, atoms in zip(angles, torsions, strict=True):
                    series.append(torsion(arrays["positions"], atoms))
                for name, values in scalars.items():
                    values.append(np.atleast_1d(arrays[name]))
        finish_dcd(temporary, plan.frame_interval)
    joined = {name: np.concatenate(values) for name, values in scalars.items()}
    times = plan.frame_interval * np.arange(1, plan.frames + 1)
    write_arrays(energies, times=times, **joined)
    inefficiency = None
    if angles:
        joint = np.stack([np.concatenate(series) for series in angles], axis=1)
        inefficiency = torsion_inefficiency(joint)
    return {
        "frames": plan.frames,
        "moved": float(joined["moved"].mean()),
        "mean_energy": float(joined["energies"].mean()),
        "statistical_inefficiency_frames": inefficiency,
    }
