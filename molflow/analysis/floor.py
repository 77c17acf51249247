"""The floor: which parts of the reference are scored against each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from molflow.analysis.reference import Reference

#: How often a single run is cut at random into two halves.
HALVINGS = 5
#: A single run is cut into at least this many blocks.
_LEAST_BLOCKS = 10


@dataclass(frozen=True)
class Split:
    """What an ensemble is scored against, and the pairs of disjoint parts that give the floor.

    `floors` are pairs (model side, reference side); the floor is the mean over them.
    """

    scored: Reference
    floors: list[tuple[Reference, Reference]]
    sentence: str


def scored_part(reference: Reference) -> Reference:
    """Return what is scored against: the held-out runs, or all if there are no others."""
    some = 0 < len(reference.held_out_runs) < len(reference.runs)
    return reference.held_out() if some else reference


def split_reference(reference: Reference, block: int, rng: np.random.Generator) -> Split:
    """Choose the scored runs and the floor's sides; run sets against run sets if possible.

    Parameters
    ----------
    reference : Reference
    block : int
        Frames per block where a single run has to be cut, from
        `molflow.analysis.statistics.block_length`.
    rng : numpy.random.Generator
        Of the cutting.
    """
    held = scored_part(reference)
    others = [run for run in reference.runs if run not in held.runs]
    if others:
        names = ", ".join(map(str, reference.held_out_runs))
        return Split(
            held, [(reference.select(others), held)],
            f"Scored against the held-out runs ({names}); the floor is the score of frames of the "
            f"other runs ({', '.join(map(str, others))}) against the same held-out runs.",
        )  # fmt: skip
    if len(reference.runs) > 1:
        half = len(reference.runs) // 2
        sides = reference.select(reference.runs[half:]), reference.select(reference.runs[:half])
        return Split(
            reference, [sides],
            "Scored against all runs, since none is held out from the others; the floor is the "
            "score between two halves of the runs, so its reference side is about half as long.",
        )  # fmt: skip
    frames = len(reference.torsions)
    block = int(np.clip(block, 1, max(1, frames // _LEAST_BLOCKS)))
    number = np.arange(frames) // block
    floors = []
    for _ in range(HALVINGS):
        side = np.zeros(number[-1] + 1, np.int16)
        side[rng.permutation(len(side))[: len(side) // 2]] = 1
        halves = replace(reference, replica=side[number], held_out_runs=())
        floors.append((halves.select([0]), halves.select([1])))
    return Split(
        reference, floors,
        f"Scored against the only run; the floor is the mean score between {HALVINGS} random "
        f"halvings of its blocks of {block} frames, which is too low if a motion is slower than "
        "a block.",
    )  # fmt: skip
