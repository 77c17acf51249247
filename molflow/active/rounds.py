"""One round: labels of chosen frames, two maps that learn all so far, frames they disagree on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from molflow.active.disagreement import disagreement, learned_forces, most_doubtful
from molflow.active.explore import Explored, explore
from molflow.active.plan import CHAINS, CHOICE, training_seconds
from molflow.analysis.molecule.graph import with_bonds
from molflow.analysis.statistics import evenly_spaced
from molflow.budget import Budget
from molflow.errors import MolflowError
from molflow.farm import Jobs
from molflow.files import read_json, write_arrays, write_json
from molflow.maps.dynamics.flow_map import DynamicsFlowMap
from molflow.md.labelled_set import LabelledFrames, write_labelled
from molflow.md.labels import label_frames
from molflow.parts import kept_arrays
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem
from molflow.training.checkpoint import load_checkpoint
from molflow.training.cost import step_cost
from molflow.training.run import train

#: One labelled frame in so many validates.
_VALIDATED = 10
#: How much hotter than the system every other chain is.
_HOTTER = 1.5
#: The share of new frames whose disagreement a round tells the bound of.
SURE = 0.95
#: The shares of a training that ends with a falling rate, and that begins with the force alone.
_DECAY, _LOCAL = 0.5, 0.25
#: Steps are planned for a machine that is so much faster than it was when measured; the least.
_FASTER, _STEPS = 1.5, 20
#: New frames that are looked at where no more labels follow.
_LOOKED_AT = 64


@dataclass(frozen=True)
class Loop:
    """What all rounds have in common.

    Attributes
    ----------
    config : Path
        The configuration of both trainings, in words `known`.
    words : tuple of str
        What the caller says after it and after what a round decides.
    """

    system: MolecularSystem
    out: Path
    clock: Budget
    config: Path
    known: tuple[str, ...]
    words: tuple[str, ...]
    seed: int
    jobs: Jobs
    progress: bool


@dataclass(frozen=True)
class Round:
    """What came of a round.

    Attributes
    ----------
    row : dict
        For the account: ``labels`` (forces that were asked for), ``failed`` and ``broken`` (how
        many by reason), ``error`` (of the force on frames of the first round that nothing trains
        on), ``error_before`` (of the map before on the frames that were labelled now) and
        ``disagreement`` (``median`` and ``high``, the bound of 95 of 100), all over the size of the
        force on frames of the first round, ``looked_at``, ``seconds``.
    labelled : LabelledFrames
    chosen : ndarray, (n, atoms, 3)
        The frames to label next, nm.
    folder : Path
    """

    folder: Path
    row: dict[str, Any]
    labelled: LabelledFrames
    chosen: np.ndarray


def play(
    loop: Loop, chosen: np.ndarray, before: Sequence[Round], following: Sequence[int]
) -> Round:
    """Play a round, or what is left of it.

    Parameters
    ----------
    loop : Loop
    chosen : ndarray, (n, atoms, 3)
        Frames to label, nm.
    before : sequence of Round
        Those that were played.
    following : sequence of int
        How many labels later rounds have.

    Raises
    ------
    MolflowError
        If fewer than 20 frames of the first round can be labelled.
    """
    folder, begun = loop.out / f"round-{len(before)}", time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    labelled, failed = _labelled(loop, folder, chosen)
    if not before and len(labelled.energies) < 2 * _VALIDATED:
        reason = next(iter(failed), "there are none")
        raise MolflowError(
            f"{len(labelled.energies)} of {len(chosen)} frames can be labelled ({reason}): give "
            f"frames of which {2 * _VALIDATED} or more can."
        )
    took = (time.monotonic() - begun) / max(1, len(chosen))
    found = [*(one.labelled for one in before), labelled]
    data = _training_set(loop, folder, found)
    force = float(np.sqrt(np.mean(found[0].forces.astype(np.float64) ** 2)))
    origin = before[-1].folder if before else None
    error_before = None if origin is None else _error(_map(origin / "map"), labelled, force)
    maps = _trained(loop, folder, data, origin, took, following)
    test = LabelledFrames(*(values[::_VALIDATED] for values in found[0]))
    wanted = following[0] if following else _LOOKED_AT
    explored = _explored(loop, folder, maps[0], found, wanted)
    doubts = disagreement(*maps, explored.positions) / force
    stored = folder / "row.json"
    if not stored.exists():
        row = {
            "labels": len(chosen) + sum(one.row["labels"] for one in before[-1:]),
            "failed": failed, "broken": explored.broken, "looked_at": len(doubts),
            "error": _error(maps[0], test, force), "error_before": error_before,
            "disagreement": {
                "median": float(np.median(doubts)), "high": float(np.quantile(doubts, SURE)),
            } if len(doubts) else None,
            "seconds": round(loop.clock.elapsed, 1),
        }  # fmt: skip
        write_json(stored, row)
        loop.clock.keep()
    chosen = explored.positions[most_doubtful(doubts, wanted)]
    return Round(folder, read_json(stored), labelled, chosen)


def _labelled(
    loop: Loop, folder: Path, chosen: np.ndarray
) -> tuple[LabelledFrames, dict[str, int]]:
    """Return the frames that have labels, and how many have none by reason."""
    parts = folder / "labels"
    parts.mkdir(exist_ok=True)
    found = label_frames(loop.system, chosen, loop.jobs, parts, "labelling", loop.progress)
    good = found.good
    return LabelledFrames(chosen[good], found.forces[good], found.energies[good]), found.counted()


def _training_set(loop: Loop, folder: Path, found: Sequence[LabelledFrames]) -> Path:
    """Write all labels as a training set, of which each tenth frame of every round validates."""
    every = np.concatenate([np.arange(len(one.energies)) % _VALIDATED == 0 for one in found])
    whole = [np.concatenate(values) for values in zip(*found, strict=True)]
    sets = {
        name: LabelledFrames(*(values[rows] for values in whole))
        for name, rows in (("train", ~every), ("validation", every))
    }
    write_labelled(
        folder / "data", loop.system, sets, plan={"ensemble": loop.system.ensemble},
        split={"train": [0], "validation": [1], "held_out": []},
    )  # fmt: skip
    return folder / "data"


def _trained(
    loop: Loop, folder: Path, data: Path, origin: Path | None, took: float, following: Sequence[int]
) -> tuple[DynamicsFlowMap, DynamicsFlowMap]:  # fmt: skip
    """Return the map, and the second one, which learns the force alone from another start."""

    def settle() -> dict[str, Any]:
        labelling, rounds = took * sum(following), 1 + len(following)
        seconds = training_seconds(loop.clock.left, labelling, rounds)
        each = step_cost(loop.system, data, (*loop.known, *loop.words)).seconds
        return {"seconds": seconds, "each": each}

    chosen = loop.clock.decided(folder.name, settle)
    for name, seconds in zip(("map", "second"), chosen["seconds"], strict=True):
        steps = max(_STEPS, int(_FASTER * seconds / chosen["each"]))
        alone = steps if name == "second" else int(_LOCAL * steps) if origin is None else 0
        words = (
            f"steps={steps}", f"seconds={round(seconds, 1)}", f"objective.local_steps={alone}",
            f"steps_per_epoch={min(100, max(5, steps // 20))}", "validate_every=1000000",
            f"learning_rate_decay={int(_DECAY * steps)}",
            f"learning_rate_warmup={min(100, steps // 10)}",
            f"seed={derive_seed(loop.seed, name, folder.name) % 2**31}",
        )  # fmt: skip
        train(
            loop.system, data, folder / name, loop.config, (*words, *loop.words),
            None if origin is None else origin / name / "checkpoint", progress=loop.progress,
        )  # fmt: skip
    return _map(folder / "map"), _map(folder / "second")


def _map(run: Path) -> DynamicsFlowMap:
    found: Any = load_checkpoint(run / "checkpoint").flow_map  # of dynamics, as it was trained
    return found


def _error(flow_map: DynamicsFlowMap, frames: LabelledFrames, force: float) -> float:
    """Return the root mean square error of a force over the size of the force."""
    off = learned_forces(flow_map, frames.positions) - frames.forces
    return float(np.sqrt(np.mean(off**2)) / force)


def _explored(
    loop: Loop,
    folder: Path,
    flow_map: DynamicsFlowMap,
    found: Sequence[LabelledFrames],
    wanted: int,
) -> Explored:
    """Return frames of chains from labelled frames, at the system's temperature and above."""
    file = folder / "explored.npz"
    if (stored := kept_arrays(file)) is None:
        system, starts = loop.system, np.concatenate([one.positions for one in found])
        starts = starts[evenly_spaced(len(starts), CHAINS)].astype(np.float64)
        topology = with_bonds(system.topology(), system.start_positions())
        frames = -(-CHOICE * wanted // (2 * len(starts)))
        parts = [
            explore(flow_map, topology, starts, frames, times * system.temperature,
                    derive_seed(loop.seed, "explore", folder.name, int(times > 1)))
            for times in (1.0, _HOTTER)
        ]  # fmt: skip
        reasons = sum((Counter(part.broken) for part in parts), Counter())
        stored = {
            "positions": np.concatenate([part.positions for part in parts]),
            "reasons": np.array(list(reasons), dtype=np.str_),
            "counts": np.array(list(reasons.values()), dtype=int),
        }
        write_arrays(file, **stored)
    counts = zip(stored["reasons"].tolist(), stored["counts"].tolist(), strict=True)
    return Explored(stored["positions"], dict(counts))
