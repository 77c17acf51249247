"""The floor: which parts of the reference are scored against each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from molflow.analysis.reference import Reference


@dataclass(frozen=True)
class Split:
    """What an ensemble is scored against, and the two disjoint parts that give the floor."""

    scored: Reference
    floor_model: Reference
    floor_reference: Reference
    sentence: str


def split_reference(reference: Reference) -> Split:
    """Choose the scored runs and the floor's two sides; run sets against run sets if possible."""
    others = [run for run in reference.runs if run not in reference.held_out_runs]
    if reference.held_out_runs and others:
        held = reference.held_out()
        names = ", ".join(map(str, reference.held_out_runs))
        return Split(
            held, reference.select(others), held,
            f"Scored against the held-out runs ({names}); the floor is the score of frames of the "
            f"other runs ({', '.join(map(str, others))}) against the same held-out runs.",
        )  # fmt: skip
    if len(reference.runs) > 1:
        half = len(reference.runs) // 2
        return Split(
            reference, reference.select(reference.runs[half:]),
            reference.select(reference.runs[:half]),
            "Scored against all runs, since none is held out from the others; the floor is the "
            "score between two halves of the runs, so its reference side is about half as long.",
        )  # fmt: skip
    middle = len(reference.torsions) // 2
    parts = []
    for later in (False, True):
        labels = np.where((np.arange(len(reference.torsions)) >= middle) == later, 0, 1)
        parts.append(_relabelled(reference, labels).select([0]))
    return Split(
        reference, parts[1], parts[0],
        "Scored against the only run; the floor is the score between its first and second half, "
        "which are not independent if a motion is slower than the run.",
    )  # fmt: skip


def _relabelled(reference: Reference, labels: np.ndarray) -> Reference:
    return replace(reference, replica=labels.astype(np.int16), held_out_runs=())
