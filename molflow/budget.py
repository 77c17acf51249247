"""What a budget of time buys: plans by measured costs, and a clock that goes on after a break."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molflow.errors import MolflowError
from molflow.files import read_json, write_json

#: Share of a budget until whose end dynamics run, and what is kept for sampling and the report: a
#: share, the seconds that they take on an idle core at least, and the share that they get at most.
SIMULATE, END, LEAST_END, MOST_END = 0.3, 0.12, 15.0, 0.4
#: Independent runs, frames that each should have and has at most, and intervals between frames to
#: choose from, ps.
REPLICAS, _FRAMES, _MOST_FRAMES = 6, 200, 5_000
_INTERVALS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Seconds below which no stage can do anything.
LEAST = 60.0
#: Training steps that a network should get at least, and networks, the smallest first.
_STEPS = 3_000
NETWORKS = ((32, 16, 2), (48, 24, 2), (64, 32, 3))
#: Atoms up to which a batch has 64 molecules, and above which 16.
_SMALL = 40


class Budget:
    """Seconds of wall clock that all sessions of a run share.

    Parameters
    ----------
    seconds : float
    path : Path
        File that keeps what was spent and decided.
    """

    def __init__(self, seconds: float, path: Path):
        self.seconds, self.path, self.begun = seconds, path, time.monotonic()
        self.stored: dict[str, Any] = read_json(path) if path.exists() else {}
        self.before = float(self.stored.get("seconds", 0.0))

    @property
    def elapsed(self) -> float:
        """Seconds of this session and of those before."""
        return self.before + time.monotonic() - self.begun

    @property
    def left(self) -> float:
        """Seconds that are not spent."""
        return max(0.0, self.seconds - self.elapsed)

    def decided(self, name: str, choose: Callable[[], Any]) -> Any:
        """Return what was decided before under this name, or choose now and keep it."""
        if name not in self.stored:
            self.stored[name] = choose()
            self.keep()
        return self.stored[name]

    def keep(self) -> None:
        """Write down what was spent and decided."""
        write_json(self.path, self.stored | {"seconds": round(self.elapsed, 1)})


@dataclass(frozen=True)
class Dynamics:
    """What each of the runs is to do at most; ps."""

    time: float
    frame_interval: float
    equilibration: float


def dynamics_of(seconds: float, seconds_a_step: float, timestep: float, jobs: int) -> Dynamics:
    """Return what so much time buys.

    Parameters
    ----------
    seconds : float
        Of wall clock.
    seconds_a_step : float
        Of molecular dynamics, on one core.
    timestep : float
        fs.
    jobs : int
        Replicas that run at once.
    """
    step = 1e-3 * timestep
    length = step * seconds * jobs / (REPLICAS * seconds_a_step)
    least = next((ps for ps in _INTERVALS if length / ps <= _MOST_FRAMES), _INTERVALS[-1])
    least = min(least, length / _FRAMES)
    interval = round(step * max(1, round(least / step)), 9)
    equilibration = interval * max(1, round(min(100.0, 0.1 * length) / interval))
    frames = max(100, int((length - equilibration) / interval))
    return Dynamics(round(frames * interval, 6), interval, round(equilibration, 6))


def kept_for_the_end(seconds: float, load: float, least: float) -> float:
    """Return the seconds of a budget that are kept for sampling and the report.

    Parameters
    ----------
    seconds : float
        The budget.
    load : float
        Wall-clock seconds that a second of processor time takes here now.
    least : float
        Seconds of the least of it.
    """
    return max(least, min(MOST_END * seconds, max(END * seconds, LEAST_END * load)))


def network_words(network: tuple[int, int, int], atoms: int) -> tuple[str, ...]:
    """Return the words of a configuration for a network and the batch for so many atoms."""
    scalars, vectors, layers = network
    return (
        f"network.scalars={scalars}", f"network.vectors={vectors}", "network.heads=8",
        f"network.layers={layers}", "network.pair_width=32",
        f"batch_size={64 if atoms <= _SMALL else 16}",
    )  # fmt: skip


def choose_network(
    seconds: float, atoms: int, seconds_a_step: Callable[[Sequence[str]], float]
) -> dict:
    """Return the largest network that gets enough training steps in some time, and why.

    Parameters
    ----------
    seconds : float
        Of training.
    atoms : int
        That are learned.
    seconds_a_step : callable
        Measures the training step of a network by the words of its configuration.

    Returns
    -------
    dict
        ``words``, ``seconds_a_step``, ``steps`` (how many fit) and ``why``, a sentence.
    """
    tried, chosen = [], None
    for network in NETWORKS:  # the smallest first: what is larger costs more to measure, too
        words = network_words(network, atoms)
        each = seconds_a_step(words)
        steps = int(seconds / each)
        tried.append(f"{_named(network)}: {1e3 * each:.0f} ms a step, {steps:,} steps")
        if chosen is None or steps >= _STEPS:
            chosen = network, words, each, steps
        if steps < _STEPS:
            break
    assert chosen is not None, "there are networks"
    network, words, each, steps = chosen
    rule = "the largest that gets"
    if steps < _STEPS:
        rule = "the smallest of three, which gets less than"
    why = (
        f"Network of {_named(network)}, {rule} {_STEPS:,} training steps in {seconds:.0f} s for "
        f"{atoms} atoms, {words[-1].partition('=')[2]} molecules a batch ({'; '.join(tried)})."
    )
    return {"words": list(words), "seconds_a_step": each, "steps": steps, "why": why}


def _named(network: tuple[int, int, int]) -> str:
    return "{} scalars, {} vectors and {} layers".format(*network)


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
    if not LEAST <= value < float("inf"):
        raise MolflowError(f"budget is '{budget}': give at least {LEAST:g} seconds.")
    return value
