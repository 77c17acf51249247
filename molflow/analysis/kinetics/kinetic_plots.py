"""Pictures of slow modes; every function returns matplotlib axes, as those of `plots` do."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from molflow.analysis.plots import COLOURS, clean, new_axes

_MARKERS = ("o", "s", "^", "D")


def implied_timescales(rows: list[dict], axes: Axes | None = None) -> Axes:
    """Draw implied time scales against the lag time, with intervals.

    Parameters
    ----------
    rows : list of dict
        From `molflow.analysis.kinetics.markov.implied_timescales`. What is inconclusive is drawn
        hollow and without a line; the grey region is faster than the lag time.
    axes : matplotlib.axes.Axes, optional
    """
    axes = axes or new_axes(4.6, 3.4)
    lags = sorted({row["lag_ps"] for row in rows})
    axes.fill_between(
        lags, 0, lags, facecolor="0.9", edgecolor="0.6", zorder=0, label="faster than the lag"
    )
    for process in sorted({row["process"] for row in rows}):
        colour, marker = COLOURS[process % 6], _MARKERS[process % 4]
        own = [row for row in rows if row["process"] == process and row["value_ps"] is not None]
        sure = [row for row in own if row["verdict"] == "resolved"]
        if sure:
            middle = np.array([row["value_ps"] for row in sure])
            ends = np.abs(np.array([row["interval_ps"] for row in sure]).T - middle)
            axes.errorbar(
                [row["lag_ps"] for row in sure], middle, ends, color=colour, marker=marker,
                capsize=3, label=f"process {process + 1}",
            )  # fmt: skip
        rest = [row for row in own if row["verdict"] != "resolved"]
        if rest:
            axes.plot(
                [row["lag_ps"] for row in rest], [row["value_ps"] for row in rest], marker,
                color=colour, markerfacecolor="none",
                label=None if sure else f"process {process + 1}, inconclusive",
            )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="lag time / ps", ylabel="implied time scale / ps")
    axes.legend(frameon=False, fontsize=8)
    return clean(axes)


def chapman_kolmogorov(result: dict, lag_ps: float, axes: Axes | None = None) -> Axes:
    """Draw predicted and estimated probabilities to be in the same set again.

    Parameters
    ----------
    result : dict
        From `molflow.analysis.kinetics.markov.chapman_kolmogorov`.
    lag_ps : float
        Lag time of the model, ps.
    axes : matplotlib.axes.Axes, optional
    """
    axes = axes or new_axes(4.6, 3.4)
    for member in sorted({row["set"] for row in result["rows"]}):
        own = [row for row in result["rows"] if row["set"] == member]
        times = [lag_ps * row["multiple"] for row in own]
        estimated = np.array([row["estimated"] for row in own])
        # The interval is that of predicted less estimated: round the estimate it is a band.
        low, high = np.array([row["interval"] for row in own]).T
        half = (high - low) / 2
        colour, marker = COLOURS[member % 6], _MARKERS[member % 4]
        axes.errorbar(
            times, estimated, half, color=colour, marker=marker, linestyle="none", capsize=3,
            label=f"set {member + 1}, estimated",
        )  # fmt: skip
        axes.plot(
            times, [row["predicted"] for row in own], color=colour, linestyle="--",
            label=f"set {member + 1}, predicted",
        )  # fmt: skip
    axes.set(xlabel="time / ps", ylabel="probability to be back", ylim=(0, 1.02))
    axes.set_title(f"Chapman–Kolmogorov, lag {lag_ps:g} ps: {result['verdict']}", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    return clean(axes)


def autocorrelation(curves: dict[str, dict], axes: Axes | None = None) -> Axes:
    """Draw normalised autocorrelations of torsions with their intervals.

    Parameters
    ----------
    curves : dict
        Name to what `molflow.analysis.kinetics.autocorrelation.torsion_autocorrelation` returned.
    axes : matplotlib.axes.Axes, optional
    """
    axes = axes or new_axes(4.6, 3.4)
    styles = ("-", "--", ":", "-.")
    for index, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[index % 6]
        axes.fill_between(curve["times"], curve["low"], curve["high"], color=colour, alpha=0.2)
        axes.plot(
            curve["times"], curve["value"], color=colour, linestyle=styles[index % 4], label=name
        )
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set(xlabel="time / ps", ylabel="autocorrelation", ylim=(None, 1.02), xlim=(0, None))
    axes.legend(frameon=False)
    return clean(axes)
