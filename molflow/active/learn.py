"""`molflow learn`: a map of a dear potential, from labels of frames that it looks for itself."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from molflow.active.account import account_of, draw_curve, why_it_stops
from molflow.active.plan import OWN, Sizes
from molflow.active.rounds import Loop, Round, play
from molflow.analysis.statistics import evenly_spaced
from molflow.budget import NETWORKS, Budget, network_words, parse_budget
from molflow.data.dataset import data_hash
from molflow.data.prepare import centred
from molflow.data.simulation import open_simulation
from molflow.errors import MolflowError
from molflow.farm import Jobs
from molflow.files import writable_folder, write_json, write_text
from molflow.md.forces import free_masses
from molflow.md.label import frames_of
from molflow.md.simulate import simulate
from molflow.parts import alone_in
from molflow.systems import MolecularSystem, load_system

#: Least labels that teach anything.
_FEWEST = 400
#: Time steps between frames of the potential's own dynamics, and how many runs they are.
_STRIDE, _RUNS = 4, 2
#: What both maps are, besides the sizes of their network.
_WORDS = ("map.kind=langevin", "map.bonded=fitted", "optimiser=soap", "learning_rate=0.003")


@alone_in
def learn(
    system: str | Path | MolecularSystem,
    out: str | Path,
    labels: int = 20_000,
    budget: str | float = "4h",
    frames: str | Path | None = None,
    limit: float = 0.02,
    overrides: Sequence[str] = (),
    top: str | Path | None = None,
    seed: int = 0,
    jobs: Jobs = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Label, train, look for frames that two maps disagree on, label those, and so on; resumable.

    Half of the labels go to frames that are at hand. Two maps learn from them: one of dynamics, and
    one of the force alone from other random weights. Chains of the first, half of them hotter, make
    new frames, and those on whose force the two disagree most are labelled for the next round.

    Parameters
    ----------
    system : str, Path or MolecularSystem
        With the potential that labels.
    out : path
        Folder for ``round-0``, ``round-1`` ... with labels, training set and both maps, the last
        map as ``checkpoint``, ``curve.png`` and ``learn.json``.
    labels : int
        Forces of the potential at most.
    budget : str or float
        Wall-clock time of all calls together, such as ``"4h"``; a float in seconds.
    frames : path, optional
        Training set of `prepare`, whose forces do not count, or trajectory of all atoms: those of a
        cheap surrogate, hot ones too. By default a fourth of the labels goes to short dynamics
        under the potential itself.
    limit : float
        The disagreement, over the size of the force, below which 95 of 100 new frames have to be.
    overrides : sequence of str
        ``key=value`` words for both trainings.
    top : path, optional
        Topology of a trajectory without one.
    seed : int
    jobs : int or str, optional
        Processes that label, or a cluster; see `molflow.label`.
    progress : bool

    Returns
    -------
    dict
        The content of ``learn.json``: ``rows``, one for each round, see
        `molflow.active.rounds.Round`, ``stopped``, a sentence, and ``account``, sentences.

    Raises
    ------
    MolflowError
        If an argument is impossible, `out` holds something else, or too few frames can be labelled.
    """
    system = system if isinstance(system, MolecularSystem) else load_system(system)
    seconds = parse_budget(budget)
    if isinstance(labels, bool) or not isinstance(labels, int) or labels < _FEWEST:
        raise MolflowError(f"labels is {labels!r}: give a whole number, {_FEWEST} or more.")
    if not 0.0 < limit < 1.0:
        raise MolflowError(f"limit is {limit:g}: give a share of the force between 0 and 1.")
    free_masses(system)
    out = writable_folder(out)
    wanted = {
        "system": system.label, "ensemble_hash": system.ensemble_hash, "labels": labels,
        "budget": seconds, "limit": limit, "words": list(overrides), "seed": seed,
        "frames": None if frames is None else str(Path(frames).resolve()),
    }  # fmt: skip
    clock = Budget(seconds, out / "plan.json")
    if clock.decided("of", lambda: wanted) != wanted:
        raise MolflowError(
            f"'{out}' was begun with other arguments: choose another folder, or give those that it "
            "was begun with."
        )
    pool, spent = _first_frames(system, frames, top, out, labels, seed, jobs, progress)
    if clock.decided("pool", lambda: data_hash(pool)) != data_hash(pool):
        raise MolflowError(
            f"'{out}' was begun with other frames than '{frames}' has now: choose another folder."
        )
    config = out / "training.yaml"
    known = (*network_words(NETWORKS[-1], pool.shape[1]), *_WORDS)
    write_text(config, OmegaConf.to_yaml(OmegaConf.from_dotlist(list(known))))
    loop = Loop(system, out, clock, config, known, tuple(overrides), seed, jobs, progress)
    sizes = Sizes.of(labels - spent, len(pool)).of_round
    chosen, stopped = pool[evenly_spaced(len(pool), sizes[0])], None
    played: list[Round] = []
    while stopped is None:
        following = sizes[len(played) + 1 :]
        played.append(play(loop, chosen, played, following))
        chosen, rows = played[-1].chosen, [one.row for one in played]
        stopped = why_it_stops(rows, following, limit, clock.left)
        result = {
            "system": system.label, "limit": limit, "force_calls": spent + rows[-1]["labels"],
            "rows": rows, "stopped": stopped, "account": account_of(rows, spent, stopped),
        }  # fmt: skip
        write_json(out / "learn.json", result)
        draw_curve(rows, limit, out / "curve.png")
    _give(played[-1].folder / "map" / "checkpoint", out / "checkpoint")
    return result


def _first_frames(
    system, frames, top, out: Path, labels: int, seed: int, jobs: Jobs, progress: bool
) -> tuple[np.ndarray, int]:
    """Return the frames at hand, (n, atoms, 3), and the forces of the potential that they took."""
    if frames is not None:
        found, _ = frames_of(Path(frames), system, top)
        return np.concatenate(list(found.values())), 0
    steps = labels // (OWN * _RUNS * _STRIDE) * _STRIDE
    step = 1e-3 * system.timestep
    simulate(
        system, steps * step, _RUNS, out / "md", frame_interval=_STRIDE * step, equilibration=0.0,
        seed=seed, jobs=jobs if isinstance(jobs, int) else None, progress=progress,
    )  # fmt: skip
    source = open_simulation(out / "md")
    runs = [source.trajectory(run).xyz for run in range(_RUNS)]
    return centred(np.concatenate(runs)), _RUNS * steps


def _give(checkpoint: Path, out: Path) -> None:
    """Copy the last map to where it is looked for."""
    if not out.exists():
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(checkpoint, partial)
        partial.rename(out)
