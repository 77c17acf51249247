"""`molflow refine`: the conformations of an ensemble under short damped dynamics, resumable."""

from __future__ import annotations

import shutil
import time
import warnings
from pathlib import Path

import numpy as np

from molflow.analysis.files.atom_matching import match_atoms
from molflow.analysis.files.ensemble import EnsembleFile, read_ensemble
from molflow.errors import MolflowError
from molflow.farm import Jobs
from molflow.files import writable_folder, write_arrays
from molflow.parts import alone, claim_parts, finished, write_record
from molflow.refinement.pieces import refine_positions
from molflow.refinement.walkers import Walk, Walked
from molflow.systems import MolecularSystem, load_system
from molflow.trajectories import check_extension, read_trajectory, write_trajectory
from molflow.units import parse_quantity

#: 1/ps. At 1/ps the same heat takes tens of times as long to leave.
FRICTION = 30.0
#: fs; shorter than the system's own if that is longer, and without constraints always enough.
TIMESTEP = 1.0
#: What a refined ensemble is, in words for its record.
STATEMENT = (
    "refined; populations are the map's: bonds, angles and energies are at temperature, the shares "
    "of basins are those of the conformations that the dynamics started from"
)


@alone
def refine(
    ensemble,
    out: str | Path | None = None,
    steps: int = 200,
    *,
    system: str | Path | None = None,
    top: str | Path | None = None,
    friction: str | float = FRICTION,
    seed: int = 0,
    jobs: Jobs = None,
    progress: bool = True,
):
    """Walk from every conformation by strongly damped Langevin dynamics under the system's forces.

    Vibrations come to the temperature of the system within tenths of a picosecond; basins do not
    change places in that time, so the populations stay what they were. Weights of the
    conformations are kept: the dynamics leaves the Boltzmann law as it is.

    Parameters
    ----------
    ensemble : path or mdtraj.Trajectory
        All atoms of the system, in its order; what `molflow.compare` reads.
    out : path, optional
        ``.dcd``, ``.h5``, ``.xtc`` or ``.pdb``, with ``topology.pdb``, the record (``.json``) and
        the energies (``.npz``, kJ/mol) beside it. Finished pieces are kept in a folder beside it
        until the end: the same call resumes.
    steps : int
        Time steps of 1 fs for every conformation.
    system : str or path, optional
        By default the one that the ensemble's record names.
    top : path, optional
        Topology of a trajectory without one; by default ``topology.pdb`` beside it.
    friction : float or str
        Per ps.
    seed : int
        Of velocities and thermostats.
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`; by default one per core.
        The result does not depend on it.
    progress : bool

    Returns
    -------
    mdtraj.Trajectory
        As many conformations as were given, in their order.

    Raises
    ------
    MolflowError
        If an argument is impossible, files cannot be read or written, or the ensemble is not of
        the system.
    """
    import mdtraj

    rate = _checked(steps, friction)
    given = read_ensemble(ensemble, top)
    walk = walk_of(_system_of(given, system), steps, rate, seed)
    _check_atoms(given, walk.system)
    plan = {**plan_of(walk), "source_sha256": given.sha256, "n": given.n}
    parts = None
    if out is not None:
        out = check_extension(out)
        if given.path is not None and out.resolve() == given.path.resolve():
            raise MolflowError(f"out is '{out}', the ensemble itself: choose another name.")
        writable_folder(out.parent)
        if finished(out, plan):
            return read_trajectory(out, given.topology)
        if given.sha256 is not None:  # an ensemble from memory cannot be known again
            parts = claim_parts(out, plan)
    started = time.perf_counter()
    positions = np.concatenate([part.xyz for part in given.chunks(1000)])
    walked = refine_positions(walk, positions, parts, jobs, progress)
    warn_of(walked)
    if out is not None:
        _write(out, given, walked, plan, time.perf_counter() - started)
        if parts is not None:
            shutil.rmtree(parts)
    return mdtraj.Trajectory(
        walked.positions, given.topology, time=np.arange(given.n, dtype=float)
    )


def walk_of(
    system: MolecularSystem, steps: int, friction: float = FRICTION, seed: int = 0
) -> Walk:
    """Return what refinement asks of a walker.

    Raises
    ------
    MolflowError
        If the system keeps only some atoms.
    """
    if system.variant is not None:
        raise MolflowError(
            f"'{system.label}' keeps only some atoms and has no force field to refine with: use "
            f"'{system.name}'."
        )
    return Walk(system, steps, friction, min(TIMESTEP, system.timestep), seed)


def plan_of(walk: Walk) -> dict:
    """Return the settings of a refinement, JSON-safe."""
    return {
        "refined_by": "Langevin dynamics",
        "steps": walk.steps,
        "friction_per_ps": walk.friction,
        "timestep_fs": walk.timestep,
        "temperature_K": walk.system.temperature,
        "ensemble_hash": walk.system.ensemble_hash,
        "seed": walk.seed,
    }


def outcome(walked: Walked) -> dict:
    """Return what a record says of walkers, JSON-safe."""
    return {
        "statement": STATEMENT,
        "descended": int(walked.descended.sum()),
        "blown_up": np.flatnonzero(walked.blown_up).tolist(),
    }


def warn_of(walked: Walked) -> None:
    """Warn of walkers that could not be walked."""
    failed = int(walked.blown_up.sum())
    if failed:
        warnings.warn(
            f"{failed} of {len(walked.blown_up)} conformations could not be refined and stay as "
            "they were; the record names them as blown_up.",
            stacklevel=3,
        )


def _checked(steps: int, friction: str | float) -> float:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise MolflowError(f"steps is {steps!r}: it must be a whole number, at least 1.")
    rate = parse_quantity(friction, "rate", "friction")
    if not 0.0 < rate < np.inf:
        raise MolflowError(f"friction is {friction}: give a rate above 0, such as 30/ps.")
    return rate


def _system_of(given: EnsembleFile, named: str | Path | None) -> MolecularSystem:
    recorded = given.record.get("system")
    place = given.record.get("system_path") or recorded if named is None else named
    if place is None:
        raise MolflowError(
            f"the system of the ensemble '{given.path or 'from memory'}' is not recorded: give the "
            "name or the folder of the one whose force field is to refine it."
        )
    system = load_system(place)
    own = given.record.get("ensemble_hash")
    if named is None and own is not None and own != system.ensemble_hash:
        raise MolflowError(
            f"the ensemble was made for another definition of '{recorded}' (hash {own}) than the "
            f"one here ({system.ensemble_hash}): name the system by its folder."
        )
    return system


def _check_atoms(given: EnsembleFile, system: MolecularSystem) -> None:
    topology = system.topology()
    atoms = match_atoms(given.topology, topology)
    if len(atoms) != topology.n_atoms:
        raise MolflowError(
            f"the ensemble has {len(atoms)} of the {topology.n_atoms} atoms of '{system.name}', "
            "and forces need all of them: give an ensemble of all atoms."
        )
    if np.any(np.diff(atoms) < 0):
        raise MolflowError(
            f"the atoms of the ensemble are in another order than those of '{system.name}': give "
            "an ensemble in the order of the system's structure."
        )


def _write_topology(out: Path, given: EnsembleFile, walked: Walked) -> None:
    target = out.with_name("topology.pdb")
    source = None if given.path is None else given.path.with_name("topology.pdb")
    if source is not None and source.is_file():
        if source.resolve() != target.resolve():
            shutil.copyfile(source, target)
    else:
        write_trajectory(target, walked.positions[:1], given.topology)


def _write(out: Path, given: EnsembleFile, walked: Walked, plan: dict, seconds: float) -> None:
    _write_topology(out, given, walked)
    write_trajectory(out, walked.positions, given.topology)
    kept = {} if given.log_weights is None else {"log_weights": given.log_weights}
    write_arrays(out.with_suffix(".npz"), energies=walked.energies, **kept)
    origin = ("training_replicas", "nfe", "checkpoint")
    write_record(
        out,
        {
            "system": given.record.get("system"),
            "ensemble_hash": plan["ensemble_hash"],
            **{name: given.record[name] for name in origin if name in given.record},
            "n": given.n,
            "plan": plan,
            "refined": outcome(walked),
            "source": given.record,
            "seconds": round(seconds, 2),
        },
    )
