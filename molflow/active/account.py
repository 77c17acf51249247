"""What the rounds of `molflow learn` did and why they ended, in sentences and as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molflow.files import replacing


def why_it_stops(
    rows: Sequence[dict[str, Any]], following: Sequence[int], limit: float, left: float
) -> str | None:
    """Return the sentence that ends the rounds, None if they go on.

    Parameters
    ----------
    rows : sequence of dict
        See `molflow.active.rounds.Round`.
    following : sequence of int
        Labels that are left for later rounds.
    limit : float
    left : float
        Seconds of the budget.
    """
    doubt = rows[-1]["disagreement"]
    if doubt is None:
        return (
            "Stopped because no chain of the map kept a whole molecule: give frames that cover "
            "more, more labels or more time."
        )
    high = f"on 95 of 100 new frames two maps disagree by at most {doubt['high']:.2%} of the force"
    if doubt["high"] < limit:
        return f"Stopped because {high}, below the limit of {limit:.2%}."
    if not following:
        return f"Stopped because all labels are spent: {high}, and the limit is {limit:.2%}."
    if left <= 0.0:
        return f"Stopped because the time is over: {high}, and the limit is {limit:.2%}."
    return None


def account_of(rows: Sequence[dict[str, Any]], own: int, stopped: str | None) -> list[str]:
    """Return what was done, one sentence a round, what failed, and why it ended.

    `own` counts the steps of the potential's own dynamics that the first frames are of.
    """
    said = [f"{own:,} steps of dynamics under the potential made the first frames."] if own else []
    for number, row in enumerate(rows):
        doubt = row["disagreement"]
        agree = "nothing to compare on"
        if doubt is not None:
            agree = f"disagreement {doubt['median']:.2%} (median) to {doubt['high']:.2%}"
        before = row["error_before"]
        on_new = "" if before is None else f", {before:.2%} by the map before on the new ones"
        said.append(
            f"Round {number}: {row['labels']:,} labels, error of the force {row['error']:.2%}"
            f"{on_new}, {agree} on {row['looked_at']:,} frames of its chains, "
            f"{row['seconds']:.0f} s."
        )
    for name, what in (("failed", "frames have no label"), ("broken", "times a chain ended")):
        counts: Counter[str] = sum((Counter(row[name]) for row in rows), Counter())
        said += [f"{count} {what}: {reason}." for reason, count in counts.most_common()]
    return said if stopped is None else [*said, stopped]


def draw_curve(rows: Sequence[dict[str, Any]], limit: float, path: Path) -> None:
    """Draw error and disagreement against the number of labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 3.5), layout="constrained")
    axes = figure.subplots()
    curves = {
        "error on frames of the first kind": [row["error"] for row in rows],
        "error on the frames chosen next": [*(row["error_before"] for row in rows[1:]), None],
        "disagreement, 95 of 100 new frames": [
            None if row["disagreement"] is None else row["disagreement"]["high"] for row in rows
        ],
    }
    for name, values in curves.items():
        points = [(row["labels"], v) for row, v in zip(rows, values, strict=True) if v is not None]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", label=name)
    axes.axhline(limit, color="0.6", linestyle="--", label="limit")
    axes.set(xlabel="labels", ylabel="share of the force", xscale="log", yscale="log")
    axes.legend(fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
