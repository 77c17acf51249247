"""How many frames a training set and a judgement need, said before hours are spent."""

from __future__ import annotations

from collections.abc import Mapping

from molflow.data.split import split_runs

#: Training frames below which a map of a few dozen atoms mostly remembers, validation frames below
#: which scores scatter more than they tell, and held-out frames below which floors are high.
TRAINING, VALIDATION, HELD_OUT = 5_000, 500, 1_000


def of_simulation(frames_per_run: int, runs: int) -> list[str]:
    """Return what a simulation of this size will lack, sentences.

    Parameters
    ----------
    frames_per_run : int
    runs : int
        Replicas.
    """
    if runs < 3:
        return [
            f"{runs} replica{'s' if runs > 1 else ''} cannot be split into training, validation "
            "and held-out runs, which takes 3 or more: simulate with --replicas 6."
        ]
    split = split_runs(runs)
    return of_frames({
        name: frames_per_run * len(chosen) for name, chosen in (
            ("train", split.train), ("validation", split.validation), ("held_out", split.held_out),
        )
    })  # fmt: skip


def of_frames(frames: Mapping[str, int | None]) -> list[str]:
    """Return what a training set of this size lacks, sentences.

    Parameters
    ----------
    frames : mapping
        ``train``, ``validation`` and ``held_out``: how many frames, or of weighted ones how many
        equally weighted frames they are worth; None if not known.
    """
    found = []
    train, validation, held_out = (frames[name] for name in ("train", "validation", "held_out"))
    if train is not None and train < TRAINING:
        found.append(
            f"{train:,} training frames are few: a map is usually trained on {TRAINING:,} or more; "
            "make the runs longer."
        )
    if validation is not None and validation < VALIDATION:
        found.append(
            f"{validation:,} validation frames are few: below {VALIDATION:,} the scores during "
            "training scatter."
        )
    if held_out is not None and held_out < HELD_OUT:
        found.append(
            f"{held_out:,} held-out frames are few: molflow compare needs {HELD_OUT:,} or more for "
            "floors that tell good from bad."
        )
    return found
