"""`molflow run`: from a system to a report within a stated time, stage by stage."""

from __future__ import annotations

import csv
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from molflow.errors import MolflowError
from molflow.files import read_json, writable_folder, write_json
from molflow.parts import alone_in
from molflow.systems import MolecularSystem, load_system

#: Shares of the budget; what is left is for loading, sampling and the comparison.
_SIMULATE, _TRAIN = 0.25, 0.5
#: Independent runs, frames of each at most, and intervals between frames to choose from, ps.
_REPLICAS, _MOST_FRAMES, _INTERVALS = 6, 10_000, (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Conformations that are drawn, and network calls for each.
_SAMPLES, _CALLS = 2000, 8
#: Training steps that are timed, and the shares of a run that ends with a decaying rate.
_TIMED, _DECAY, _LOCAL = 20, 0.4, 0.1
#: Seconds below which no stage can do anything.
_LEAST = 60.0


@dataclass(frozen=True)
class Plan:
    """What each stage is given; ps, and words for the configuration of training.

    Attributes
    ----------
    time, frame_interval, equilibration : float
        Of every replica, ps.
    network : tuple of str
        ``key=value`` words.
    training_seconds : float
        How long training may take.
    """

    time: float
    frame_interval: float
    equilibration: float
    network: tuple[str, ...]
    training_seconds: float


def plan_of(budget: float, atoms: int, seconds_a_step: float, timestep: float, jobs: int) -> Plan:
    """Return what a budget buys.

    Parameters
    ----------
    budget : float
        Seconds of wall clock.
    atoms : int
        That are learned.
    seconds_a_step : float
        Of molecular dynamics, on one core.
    timestep : float
        fs.
    jobs : int
        Replicas that run at once.
    """
    steps = _SIMULATE * budget * jobs / (_REPLICAS * seconds_a_step)
    length = 1e-3 * timestep * steps
    interval = next(
        (step for step in _INTERVALS if length / step <= _MOST_FRAMES), _INTERVALS[-1]
    )
    equilibration = interval * max(1, round(min(100.0, 0.1 * length) / interval))
    frames = max(10, int((length - equilibration) / interval))
    return Plan(
        round(frames * interval, 6), interval, round(equilibration, 6), network_words(atoms),
        _TRAIN * budget,
    )  # fmt: skip


def network_words(atoms: int) -> tuple[str, ...]:
    """Return the network for so many atoms: wider for small molecules, whose pairs are few."""
    if atoms <= 40:
        scalars, vectors, layers, batch = 64, 32, 3, 64
    else:
        scalars, vectors, layers, batch = 48, 24, 2, 16
    return (
        f"network.scalars={scalars}", f"network.vectors={vectors}", "network.heads=8",
        f"network.layers={layers}", "network.pair_width=32", f"batch_size={batch}",
    )  # fmt: skip


@alone_in
def run(
    system: str | Path | MolecularSystem,
    out: str | Path,
    budget: str | float = "1h",
    seed: int = 0,
    jobs: int | None = None,
    progress: bool = True,
) -> dict:
    """Simulate, prepare, train, sample and compare within a budget; the same call goes on.

    Parameters
    ----------
    system : str, Path or MolecularSystem
        With ``:selection`` for some of the atoms.
    out : path
        Folder for ``md``, ``data``, ``training``, ``ensemble.dcd``, ``report.html`` and
        ``run.json``.
    budget : str or float
        Wall-clock time such as ``"1h"`` or ``"20min"``; a float in seconds. It is divided once,
        when the folder is begun: a quarter for dynamics, half for training.
    seed : int
        Of everything random.
    jobs : int, optional
        Replicas that run at once; by default one per core.
    progress : bool
        Whether to show progress.

    Returns
    -------
    dict
        The content of ``run.json``: plan, seconds of each stage, ``verdict`` and ``advice``.

    Raises
    ------
    MolflowError
        If the budget is too short, `out` holds another run, or a stage fails.
    """
    from molflow.comparison import compare
    from molflow.data.prepare import prepare
    from molflow.md.simulate import simulate
    from molflow.sampling.ensemble import sample
    from molflow.training.run import train

    system = system if isinstance(system, MolecularSystem) else load_system(system)
    seconds = parse_budget(budget)
    out, begun = writable_folder(out), time.monotonic()
    whole = load_system(system.folder) if system.variant else system
    plan, jobs = _kept_plan(out, system, whole, seconds, jobs), jobs or os.cpu_count() or 1
    spent: dict[str, float] = {}

    def stage(name: str, work, *arguments, **options):
        start = time.monotonic()
        result = work(*arguments, **options)
        spent[name] = round(time.monotonic() - start, 1)
        return result

    stage(
        "simulate", simulate, whole, plan.time, replicas=_REPLICAS, out=out / "md", seed=seed,
        frame_interval=plan.frame_interval, equilibration=plan.equilibration, jobs=jobs,
        progress=progress,
    )  # fmt: skip
    manifest = stage("prepare", prepare, out / "md", out / "data", system)
    words = (*plan.network, f"seed={seed}")
    length = _training_steps(out, system, words, plan.training_seconds)
    checkpoint = stage(
        "train", train, system, out / "data", out / "training",
        overrides=(*words, *_schedule(length)), progress=progress,
    )  # fmt: skip
    stage(
        "sample", sample, checkpoint, steps=_CALLS, n=_SAMPLES, out=out / "ensemble.dcd",
        path_seed=seed, progress=progress,
    )  # fmt: skip
    judged = stage(
        "compare", compare, out / "ensemble.dcd", out / "md", out / "report.html", jobs=jobs,
        exact_transport=False,
    )  # fmt: skip
    result = {
        "system": system.label,
        "budget_seconds": seconds,
        "plan": asdict(plan) | {"network": list(plan.network)},
        "training_steps": length,
        "seconds": spent | {"whole": round(time.monotonic() - begun, 1)},
        "verdict": judged["verdict"],
        "advice": advice(judged, manifest, length),
    }
    write_json(out / "run.json", result)
    return result


def parse_budget(budget: str | float) -> float:
    """Return seconds of text such as ``"1h"`` or ``"20min"``; a float is in seconds.

    Raises
    ------
    MolflowError
        If it is not such a time, or too short for anything.
    """
    units = {"h": 3600.0, "min": 60.0, "s": 1.0}
    text, value = str(budget).strip(), None
    for unit, size in units.items():
        if text.endswith(unit):
            text, scale = text.removesuffix(unit), size
            break
    else:
        scale = 1.0
    try:
        value = scale * float(text)
    except ValueError as error:
        raise MolflowError(
            f"budget is '{budget}': write a time such as 1h, 20min or 90s."
        ) from error
    if not _LEAST <= value < float("inf"):
        raise MolflowError(f"budget is '{budget}': give at least {_LEAST:g} seconds.")
    return value


def _kept_plan(out: Path, system, whole, seconds: float, jobs: int | None) -> Plan:
    """Return the plan that the folder was begun with, or make one and keep it."""
    path = out / "plan.json"
    wanted = {"system": system.label, "ensemble_hash": system.ensemble_hash, "budget": seconds}
    if path.exists():
        stored = read_json(path)
        if any(stored.get(key) != value for key, value in wanted.items()):
            raise MolflowError(
                f"'{out}' was begun for another system or budget: choose another folder, or give "
                "what it was begun with."
            )
        plan = stored["plan"]
        return Plan(**plan | {"network": tuple(plan["network"])})
    from molflow.setup.understanding import understand

    cost = understand(whole)["seconds_a_step"]
    atoms = len(system.atoms) if system.atoms is not None else whole.topology().n_atoms
    plan = plan_of(
        seconds, atoms, cost, system.timestep, min(jobs or os.cpu_count() or 1, _REPLICAS)
    )
    write_json(path, wanted | {"plan": asdict(plan)})
    return plan


def _training_steps(out: Path, system, words: tuple[str, ...], seconds: float) -> int:
    """Return how many training steps fit; timed once, by a short run that is thrown away."""
    from molflow.training.run import train

    path = out / "training-steps.json"
    if path.exists():
        return read_json(path)["steps"]
    timing = (f"steps={2 * _TIMED}", f"steps_per_epoch={_TIMED}", "validate_every=1000")
    train(system, out / "data", out / "timing", overrides=(*words, *timing), progress=False)
    with open(out / "timing" / "metrics.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    each = max(float(rows[-1]["seconds"]), 0.1) / _TIMED
    steps = max(100, int(seconds / each) // 50 * 50)
    write_json(path, {"steps": steps, "seconds_a_step": each})
    return steps


def _schedule(steps: int) -> tuple[str, ...]:
    epoch = min(250, max(10, steps // 10))
    return (
        f"steps={steps}", f"steps_per_epoch={epoch}", f"learning_rate_decay={int(_DECAY * steps)}",
        f"learning_rate_warmup={min(200, steps // 10)}",
        f"objective.local_steps={int(_LOCAL * steps)}", "validate_every=4",
        "validation_samples=256",
    )  # fmt: skip


def advice(judged: dict, manifest: dict, steps: int) -> list[str]:
    """Return what would help most, the first first: data, training or more network calls."""
    found = list(manifest["lacks"])
    effective = judged["statistics"]["reference_effective"]
    if effective < 100:
        found.insert(0, (
            f"The held-out dynamics hold about {effective:.0f} independent conformations: longer "
            "dynamics would help the map and the judgement most."
        ))  # fmt: skip
    if steps < 10_000:
        found.append(
            f"Training took {steps:,} steps, and maps go on improving beyond 10,000: give a larger "
            "budget."
        )
    if not found:
        found.append("More network calls a sample (molflow sample --steps 16) are the next thing.")
    return found
