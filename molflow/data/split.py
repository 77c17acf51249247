"""Splits by whole runs: frames of one trajectory are correlated and must not be divided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from molflow.errors import MolflowError


@dataclass(frozen=True)
class Split:
    """Numbers of the runs that are trained on, validated on, and kept for scoring."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    held_out: tuple[int, ...]

    def as_lists(self) -> dict[str, list[int]]:
        """Return the split as it is written in manifests."""
        return {name: list(runs) for name, runs in asdict(self).items()}


def split_runs(
    n_runs: int,
    train: Sequence[int] | None = None,
    validation: Sequence[int] | None = None,
) -> Split:
    """Divide the runs 0 .. n_runs - 1.

    Parameters
    ----------
    n_runs : int
    train, validation : sequence of int, optional
        Both or neither; `validation` may be empty. By default the last third of the runs (at least
        one) is held out, the run before them is for validation, and the rest for training.

    Returns
    -------
    Split
        What is in neither list is held out.

    Raises
    ------
    MolflowError
        If there are too few runs, or the lists overlap, repeat or name runs that do not exist.
    """
    if (train is None) != (validation is None):
        raise MolflowError("give both train and validation, or neither for the default split.")
    if train is None or validation is None:
        if n_runs < 3:
            raise MolflowError(
                f"the simulation has {n_runs} runs, but a split into training, validation and "
                "held-out runs needs at least 3: simulate with more replicas."
            )
        first_held_out = n_runs - max(1, n_runs // 3)
        train, validation = range(first_held_out - 1), (first_held_out - 1,)
    for runs, name in ((train, "train"), (validation, "validation")):
        if any(run not in range(n_runs) for run in runs) or (name == "train" and not len(runs)):
            raise MolflowError(
                f"{name} is {list(runs)}: name at least one of the runs 0 to {n_runs - 1}."
            )
    together = [*train, *validation]
    if len(set(together)) < len(together):
        raise MolflowError(
            f"train is {list(train)} and validation is {list(validation)}: "
            "a run may be named only once."
        )
    held_out = tuple(run for run in range(n_runs) if run not in together)
    return Split(tuple(train), tuple(validation), held_out)
