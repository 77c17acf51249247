"""The least that a run within a budget does, and what it takes on this machine now."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molflow.budget import NETWORKS, REPLICAS, network_words
from molflow.errors import MolflowError
from molflow.systems import MolecularSystem

if TYPE_CHECKING:
    from molflow.data.dataset import TrainingData

#: Steps of dynamics between two frames, iterations of a descent under a force field, and training
#: steps.
_APART, _ITERATIONS, _STEPS = 5, 30, 10
#: Processor seconds in which a process of replicas begins, in which training begins and ends, and
#: that sampling and comparison take besides network calls.
_PROCESS, _TRAINING, _END = 0.5, 1.5, 1.5
#: nm by which atoms of made-up frames are off the structure's, and how many frames there are.
_WIDTH, _FRAMES = 0.005, 64
#: A budget is refused where the least takes so many times as long, and this many times the least is
#: what one is told to give.
_OVER, _GIVE = 1.1, 1.3


def least_dynamics(system: MolecularSystem, each: float, starting: float, jobs: int) -> float:
    """Return the seconds of replicas that have the fewest frames.

    Parameters
    ----------
    system : MolecularSystem
        All of it.
    each : float
        Seconds of a step.
    starting : float
        Seconds in which the processes of replicas begin.
    jobs : int
        Replicas that run at once.
    """
    from molflow.md.replica import DESCENT, FEWEST

    # A descent under a potential evaluates it somewhat more often than once an iteration.
    descent = _ITERATIONS if system.potential is None else 1.2 * DESCENT
    steps = descent + (FEWEST + 1) * _APART
    return starting + math.ceil(REPLICAS / min(jobs, REPLICAS)) * steps * each


def measured(
    system: MolecularSystem, whole: MolecularSystem | None, jobs: int, samples: int, calls: int
) -> dict:
    """Return what steps cost here, and the seconds of the least of each stage.

    Parameters
    ----------
    system : MolecularSystem
        Whose atoms are learned.
    whole : MolecularSystem or None
        That is simulated, if any is.
    jobs : int
        Replicas that run at once.
    samples, calls : int
        Conformations at least, and network calls for each.

    Returns
    -------
    dict
        ``dynamics``, ``training`` and ``end`` (sampling and comparison) in seconds, and, where
        there are dynamics, the ``platform`` and its ``seconds_a_step``.
    """
    from molflow.setup.understanding import cost_of_step
    from molflow.training.cost import step_cost

    data = made_up(system)
    words = network_words(NETWORKS[0], data.train.shape[1])
    cost = step_cost(system, data, words, enough=0.0)
    # A call costs a molecule what its share of a training step does: that calls the network several
    # times, but finds no place in a Brownian path.
    sampling = samples * calls * cost.seconds / cost.batch_size
    found: dict[str, Any] = {
        "dynamics": 0.0,
        "training": _TRAINING * cost.load + max(5.0, _STEPS * cost.seconds),
        "end": _END * cost.load + sampling,
    }
    if whole is not None:
        begun = time.monotonic()
        platform, each = cost_of_step(whole)
        starting = _PROCESS * cost.load + time.monotonic() - begun
        found |= {
            "platform": platform, "seconds_a_step": each,
            "dynamics": least_dynamics(whole, each, starting, jobs),
        }  # fmt: skip
    return found


def check_budget(name: str, seconds: float, least: dict) -> None:
    """Raise `MolflowError` where the least takes longer than a budget.

    Parameters
    ----------
    name : str
        Of the system.
    seconds : float
        The budget.
    least : dict
        Of `measured`.
    """
    needed = sum(least[stage] for stage in ("dynamics", "training", "end"))
    if needed <= _OVER * seconds:
        return
    simulated = ""
    if least["dynamics"]:
        simulated = (
            f"{REPLICAS} runs of dynamics of some dozen frames at "
            f"{1e3 * least['seconds_a_step']:.2g} ms a step, "
        )
    raise MolflowError(
        f"budget is {seconds:g} s, and the least that a run of '{name}' does here ({simulated}"
        f"{_STEPS} training steps, some conformations and their comparison) takes about "
        f"{needed:.0f} s: give {math.ceil(_GIVE * needed / 60)}min or more, which is still no time "
        "to learn much."
    )


def made_up(system: MolecularSystem) -> TrainingData:
    """Return a training set of positions about the structure's, for measuring what a step costs."""
    from molflow.data.dataset import TrainingData
    from molflow.data.prepare import centred

    start = system.start_positions()
    start = start if system.atoms is None else start[np.asarray(system.atoms)]
    noise = np.random.default_rng(0).standard_normal((_FRAMES, *start.shape))
    frames = centred(start + _WIDTH * noise)
    manifest = {"scale": float(np.sqrt(np.mean(frames.astype(float) ** 2))), "data_hash": ""}
    return TrainingData(manifest, frames, frames[:0], Path())
