"""`molflow run`: from a system to a report within a stated time, stage by stage."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from molflow.budget import (
    REPLICAS,
    SIMULATE,
    Budget,
    Dynamics,
    choose_network,
    dynamics_of,
    kept_for_the_end,
    parse_budget,
)
from molflow.errors import MolflowError
from molflow.files import read_json, writable_folder, write_json
from molflow.least_work import check_budget, measured
from molflow.parts import alone_in
from molflow.run_account import account_of, advice
from molflow.systems import MolecularSystem, load_system

#: Network calls for a conformation, conformations at most and at least.
_CALLS, _SAMPLES, _FEWEST = 8, 2000, 64
#: The share of what is left that sampling is given; the report gets the rest.
_SAMPLING = 0.4
#: The share of the budget that the conformers of a small molecule may take.
_CONFORMERS = 0.02
#: The shares of a training that ends with a decaying rate, and that begins with short steps.
_DECAY, _LOCAL = 0.4, 0.1
#: Steps are planned for a machine that is so much faster than it was when measured.
_FASTER = 1.3


@alone_in
def run(
    system: str | Path | MolecularSystem,
    out: str | Path,
    budget: str | float = "1h",
    seed: int = 0,
    jobs: int | None = None,
    progress: bool = True,
    data: str | Path | None = None,
) -> dict:
    """Simulate, prepare, train, sample and compare within a budget; the same call goes on.

    Parameters
    ----------
    system : str, Path or MolecularSystem
        With ``:selection`` for some of the atoms; of a box its ``solute`` is learned.
    out : path
        Folder for ``md``, ``data``, ``training``, ``ensemble.dcd``, ``report.html``, for small
        molecules ``conformers.sdf``, and ``run.json``.
    budget : str or float
        Wall-clock time such as ``"1h"`` or ``"20min"``; a float in seconds, of all calls together.
        Dynamics run for three tenths of it, and training until a part is left for sampling and the
        report; each ends by the clock, not by what was expected of the machine. What the least of
        each stage takes here is measured first, and a budget that is too short for it refused.
    seed : int
        Of everything random.
    jobs : int, optional
        Replicas that run at once; by default one per core.
    progress : bool
        Whether to show progress.
    data : path, optional
        Training set that `molflow.prepare` wrote, in place of dynamics.

    Returns
    -------
    dict
        The content of ``run.json``: what was decided, seconds of each stage, ``verdict``,
        ``account`` (what was done, in sentences), ``conformers`` (see
        `molflow.ranked_conformers.conformers`, None for large molecules) and ``advice``.

    Raises
    ------
    MolflowError
        If the budget is too short, `out` holds another run, or a stage fails.
    """
    from molflow.comparison import compare
    from molflow.ranked_conformers import for_small_molecules
    from molflow.sampling.ensemble import sample

    system = system if isinstance(system, MolecularSystem) else load_system(system)
    seconds = parse_budget(budget)
    if system.variant is None and "solute" in system.selections:
        system = load_system(f"{system.folder}:solute")
    out = writable_folder(out)
    clock = _kept_budget(out, system, seconds, data)
    jobs = jobs or os.cpu_count() or 1
    spent: dict[str, float] = {}
    whole = None
    if data is None:
        whole = load_system(system.folder) if system.variant else system

    def least_of_all() -> dict:
        found = measured(system, whole, jobs, _FEWEST, _CALLS)
        check_budget(system.label, seconds, found)
        return found

    least = clock.decided("least", least_of_all)

    def stage(name: str, work: Callable, *arguments, **options) -> Any:
        start = time.monotonic()
        try:
            return work(*arguments, **options)
        finally:
            spent[name] = round(time.monotonic() - start, 1)
            clock.keep()

    if data is None:
        stage("simulate", _simulate, whole, out, clock, least, seed, jobs, progress)
        data, reference = out / "data", out / "md"
        manifest = stage("prepare", _prepare, reference, data, system)
    else:
        data, manifest, reference = _given(data)
    checkpoint = stage("train", _train, system, data, out, clock, least, seed, progress)
    stage(
        "sample", sample, checkpoint, steps=_CALLS, n=_SAMPLES, out=out / "ensemble.dcd",
        path_seed=seed, progress=progress, load=False, batch_size=_FEWEST,
        seconds=_SAMPLING * clock.left,
    )  # fmt: skip
    account = account_of(system, manifest, clock.stored, out, _CALLS)
    judged = stage(
        "compare", compare, out / "ensemble.dcd", reference, out / "report.html", jobs=jobs,
        exact_transport=False, account=(*account, *manifest["lacks"]),
    )  # fmt: skip
    shapes = stage(
        "conformers", for_small_molecules, system, out / "ensemble.dcd", out / "conformers.sdf",
        min(_CONFORMERS * seconds, max(1.0, clock.left)), progress,
    )  # fmt: skip
    result = {
        "system": system.label,
        "budget_seconds": seconds,
        "decided": {key: value for key, value in clock.stored.items() if key != "of"},
        "seconds": spent | {"whole": round(clock.elapsed, 1)},
        "verdict": judged["verdict"],
        "account": account,
        "conformers": shapes,
        "advice": advice(judged, manifest, clock.stored["trained"]),
    }
    write_json(out / "run.json", result)
    return result


def _kept_budget(out: Path, system: MolecularSystem, seconds: float, data) -> Budget:
    """Return the clock of the folder, begun by an earlier call for the same or now.

    What is begun now is written down with the first decision: a budget that is refused leaves
    nothing.
    """
    clock = Budget(seconds, out / "plan.json")
    wanted = {
        "system": system.label, "ensemble_hash": system.ensemble_hash, "budget": seconds,
        "data": None if data is None else str(Path(data).resolve()),
    }  # fmt: skip
    if clock.stored.setdefault("of", wanted) != wanted:
        raise MolflowError(
            f"'{out}' was begun for another system, budget or training set: choose another folder, "
            "or give what it was begun with."
        )
    return clock


def _simulate(
    system, out: Path, clock: Budget, least: dict, seed: int, jobs: int, progress: bool
) -> None:
    from molflow.md.simulate import simulate

    # Where even the least of dynamics takes longer than their share, they take it.
    end = max(SIMULATE * clock.seconds, least["dynamics"])

    def plan() -> dict:
        found = dynamics_of(
            max(1.0, end - clock.elapsed), least["seconds_a_step"], system.timestep,
            min(jobs, REPLICAS),
        )  # fmt: skip
        return asdict(found)

    dynamics = Dynamics(**clock.decided("dynamics", plan))
    simulate(
        system, dynamics.time, replicas=REPLICAS, out=out / "md", seed=seed,
        frame_interval=dynamics.frame_interval, equilibration=dynamics.equilibration, jobs=jobs,
        platform=least["platform"], progress=progress, seconds=max(0.0, end - clock.elapsed),
    )  # fmt: skip


def _prepare(reference: Path, data: Path, system) -> dict:
    from molflow.data.prepare import prepare

    return prepare(reference, data, system)


def _given(data: str | Path) -> tuple[Path, dict, Path]:
    """Return a training set that was made before, its manifest and where its frames come from."""
    path = Path(data) / "manifest.json"
    if not path.is_file():
        raise MolflowError(
            f"'{data}' has no manifest.json: give a folder that molflow prepare wrote."
        )
    manifest = read_json(path)
    source = manifest.get("source_path")
    if source is None or not (Path(source) / "simulation.json").is_file():
        raise MolflowError(
            f"the frames that '{data}' was made of are not in '{source}' any more: prepare it "
            "again."
        )
    return Path(data), manifest, Path(source)


def _train(
    system, data: Path, out: Path, clock: Budget, least: dict, seed: int, progress: bool
) -> Path:
    from molflow.training.cost import step_cost
    from molflow.training.run import train
    from molflow.training.run_folder import steps_done

    if "trained" in clock.stored:
        return out / "training" / "checkpoint"
    loads: list[float] = []

    def left() -> float:
        kept = kept_for_the_end(clock.seconds, max(loads, default=1.0), least["end"])
        end = clock.seconds - kept
        return round(max(5.0, end - clock.elapsed), 1)

    def cost(words: Sequence[str]) -> float:
        found = step_cost(system, data, words)
        loads.append(found.load)
        return found.seconds

    def settle() -> dict:
        atoms = len(system.atoms) if system.atoms is not None else system.topology().n_atoms
        chosen = choose_network(left(), atoms, cost)
        return chosen | {"seconds": left()}

    chosen = clock.decided("training", settle)
    words = (*chosen["words"], f"seed={seed}", *_schedule(chosen))
    checkpoint = train(system, data, out / "training", overrides=words, progress=progress)
    clock.decided("trained", lambda: steps_done(out / "training"))
    return checkpoint


def _schedule(chosen: dict) -> tuple[str, ...]:
    steps = max(100, int(_FASTER * chosen["seconds"] / chosen["seconds_a_step"]))
    epoch = min(250, max(10, steps // 20))
    return (
        f"steps={steps}", f"seconds={chosen['seconds']}", f"steps_per_epoch={epoch}",
        f"learning_rate_decay={int(_DECAY * steps)}",
        f"learning_rate_warmup={min(200, steps // 10)}",
        f"objective.local_steps={int(_LOCAL * steps)}", "validate_every=6",
        "validation_samples=128",
    )  # fmt: skip
