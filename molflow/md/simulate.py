"""Reference simulations: independent replicas of plain MD, tempering or a static bias."""

from __future__ import annotations

import sys
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from molflow.data.enough import of_simulation
from molflow.errors import MolflowError
from molflow.farm import Jobs
from molflow.md.folder import begin, finish, remove_parts, replica_plans
from molflow.md.plan import BUILDING, CAP, plan_of
from molflow.md.platforms import find_platform
from molflow.md.runner import run_metadynamics, run_replicas
from molflow.parts import at_work_in
from molflow.systems import MolecularSystem, load_system
from molflow.workers import number_of_jobs


def simulate(
    system: str | Path | MolecularSystem,
    time,
    replicas: int = 4,
    out: str | Path = "simulation",
    tempering: str | None = None,
    flatten: str | Sequence[str] | None = None,
    cap: float = CAP,
    building=BUILDING,
    seed: int = 0,
    frame_interval="1ps",
    platform: str | None = None,
    jobs: Jobs = None,
    equilibration="100ps",
    progress: bool = True,
    seconds: float | None = None,
) -> dict:
    """Run reference molecular dynamics, or go on where it stopped.

    Parameters
    ----------
    system : str, Path or MolecularSystem
        All atoms; a coarse selection is made later, by `prepare`.
    time : str, float or quantity
        Length of every replica after equilibration; a float is in ps.
    replicas : int
        Independent runs.
    out : str or Path
        Folder for ``simulation.json``, ``topology.pdb``, ``replica-0.dcd``, ``replica-0.npz``, ...
        While replicas run, their segments are in the folders ``replica-0``, ...
    tempering : str, optional
        ``"300K:600K:6"``: parallel tempering on a geometric ladder. The frames of the lowest
        temperature are kept. By default plain MD.
    flatten : str or sequence of str, optional
        ``"phi,psi"``: metadynamics builds a bias in one or two torsions, and the replicas run
        under that bias, which is static then. Their frames have weights, ``log_weights`` in the
        files of energies, and are Boltzmann distributed with them. Several terms of the bias, each
        of which flattens less, as a sequence; see `molflow.md.flattening.parse_flatten` for the
        names of torsions.
    cap : float
        kJ/mol above the lowest point up to which the free energy is flattened: higher than the
        barriers, and no higher than need be.
    building : str, float or quantity
        Time of the metadynamics.
    seed : int
        Everything random follows from it.
    frame_interval, equilibration : str, float or quantity
        Time between frames; time thrown away first.
    platform : str, optional
        OpenMM platform, with device and precision if need be, ``"CUDA:1:mixed"``, see
        `molflow.md.platforms.find_platform`; by default the fastest here, or what the folder was
        begun with.
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`, that each carry a replica on; by default
        one per core. The frames do not depend on it.
    progress : bool
        Show a bar and messages on stderr.
    seconds : float, optional
        Of wall-clock time, after which replicas end where they are, with 30 frames at least; how
        many they have depends on the machine then.

    Returns
    -------
    dict
        The content of ``simulation.json``.

    Raises
    ------
    MolflowError
        If an argument is wrong, the folder holds another simulation, or a replica fails.
    """
    if not isinstance(system, MolecularSystem):
        system = load_system(system)
    if system.variant is not None:
        raise MolflowError(
            f"'{system.label}' keeps only some atoms and has no force field: simulate "
            f"'{system.name}' and give '{system.label}' to prepare."
        )
    for value, name, least in ((replicas, "replicas", 1), (seed, "seed", 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise MolflowError(f"{name} is {value!r}: give a whole number, {least} or more.")
    if not isinstance(jobs, str):
        number_of_jobs(jobs, replicas)
    elif seconds is not None:
        raise MolflowError(
            f"seconds is {seconds:g} and jobs is '{jobs}': replicas wait for workers of a cluster, "
            "so that a time that ends cannot be shared out. Give one of them."
        )
    if platform is not None:
        find_platform(platform)
    draft = plan_of(
        system,
        time,
        tempering=tempering,
        flatten=flatten,
        cap=cap,
        building=building,
        frame_interval=frame_interval,
        equilibration=equilibration,
        seed=seed,
    )
    say = _Speaker(progress)
    out = Path(out)
    with at_work_in(out):
        manifest = begin(system, draft, replicas, out, platform)
        plans = replica_plans(draft, manifest)
        if manifest["status"] == "finished":
            remove_parts(out, replicas)
            say(f"the simulation in '{out}' is finished; nothing to do")
            return manifest
        for sentence in of_simulation(draft.frames, replicas):
            say(sentence)
        if (out / "replica-0").is_dir():
            say(f"going on with the simulation in '{out}'")
        start = clock.monotonic()
        bias = None
        if draft.flattening is not None:
            # One part, which no second process could share.
            at_it = jobs if isinstance(jobs, str) else 1
            bias = run_metadynamics(system, draft, manifest["platform"], out, at_it, progress)
        run_replicas(system, plans, out, jobs, progress, bias, seconds)
        manifest["seconds_of_last_session"] = round(clock.monotonic() - start, 1)
        return finish(system, plans, out, manifest)


@dataclass(frozen=True)
class _Speaker:
    enabled: bool

    def __call__(self, sentence: str) -> None:
        if self.enabled:
            print(f"molflow: {sentence}", file=sys.stderr)
