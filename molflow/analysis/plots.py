"""Pictures of an ensemble beside its reference; every function returns matplotlib axes.

The report and notebooks draw with the same functions. Axes that are given are drawn into; without
them a figure of a fitting size is made, which is ``axes.figure``. Colours are those of Okabe and
Ito or viridis, and what differs in colour differs in line style or marker as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from molflow.analysis.torsion_metrics import free_energy, smoothed_density
from molflow.analysis.weighting import effective_size, quantile, share, systematic

#: Colours of Okabe and Ito, told apart by colour-blind readers; line styles differ as well.
MODEL: dict[str, Any] = {"color": "#D55E00", "linestyle": "-", "linewidth": 1.8}
REFERENCE: dict[str, Any] = {"color": "#0072B2", "linestyle": "--", "linewidth": 1.8}
#: More of them, for series that are neither.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
#: Top of the free-energy scales, kT.
CEILING = 8.0
_TICKS = [-120, -60, 0, 60, 120]


def new_axes(width: float, height: float) -> Axes:
    """Return axes of a figure of their own; sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained").subplots()


def clean(axes: Axes) -> Axes:
    """Take away the upper and right spines."""
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _angles(axes: Axes) -> Axes:
    axes.set(xlim=(-180, 180), ylim=(-180, 180), aspect="equal", xticks=_TICKS, yticks=_TICKS)
    axes.set(xlabel="φ / °", ylabel="ψ / °")
    return axes


def sizes_in_words(n: int, weights: np.ndarray | None) -> str:
    """Return how many samples there are and, if they are weighted, what they are worth."""
    worth = "" if weights is None else f", worth {effective_size(n, weights):,.0f}"
    return f"n = {n:,}{worth}"


def free_energy_map(
    torsions: np.ndarray,
    axes: Axes | None = None,
    title: str | None = None,
    scale: bool = True,
    weights: np.ndarray | None = None,
) -> Axes:
    """Draw the free energy over (phi, psi), in kT above its minimum (a Ramachandran map).

    Parameters
    ----------
    torsions : ndarray, (n, 2)
        rad.
    axes : matplotlib.axes.Axes, optional
    title : str, optional
        By default the number of samples.
    scale : bool
        Whether to draw a colour bar.
    weights : ndarray, (n,), optional
        Sum of 1; equal by default.

    Returns
    -------
    matplotlib.axes.Axes
        White above `CEILING` or never visited.
    """
    axes = axes or new_axes(4.9, 4.0)
    edges = np.linspace(-180, 180, 73)
    # A narrower Gaussian than in the score, so that the picture keeps the basins' edges.
    surface = free_energy(smoothed_density(torsions, width=4.0, weights=weights))
    image = axes.pcolormesh(
        edges, edges, np.ma.masked_greater(surface.T, CEILING),
        cmap="viridis", vmin=0, vmax=CEILING, rasterized=True,
    )  # fmt: skip
    axes.set_title(sizes_in_words(len(torsions), weights) if title is None else title)
    if scale:
        axes.figure.colorbar(image, ax=axes, label="F / kT", shrink=0.92)
    return _angles(axes)


def ramachandran(
    model: np.ndarray,
    reference: np.ndarray,
    figure: FigureBase | None = None,
    model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
):
    """Draw free-energy maps of (phi, psi), model and reference side by side on one scale.

    Parameters
    ----------
    model, reference : ndarray, (n, 2)
        rad.
    figure : matplotlib.figure.Figure, optional
    model_weights, reference_weights : ndarray, (n,) and (m,), optional
        Sums of 1; equal by default.

    Returns
    -------
    ndarray, (2,) of matplotlib axes
    """
    figure = figure or Figure(figsize=(8.6, 3.9), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    sides = ("model", model, model_weights), ("reference", reference, reference_weights)
    for axis, (title, torsions, weights) in zip(axes, sides, strict=True):
        size = sizes_in_words(len(torsions), weights)
        free_energy_map(torsions, axis, f"{title} ({size})", scale=False, weights=weights)
    axes[1].set_ylabel("")
    image = axes[1].collections[0]
    figure.colorbar(image, ax=axes, label="F / kT", shrink=0.92)
    return axes


def ramachandran_overlay(
    model: np.ndarray,
    reference: np.ndarray,
    axes: Axes | None = None,
    shown: int = 2000,
    model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
) -> Axes:
    """Draw samples of the model as points over the reference's free energy in lines of 1, 3, 5 kT.

    Parameters
    ----------
    model, reference : ndarray, (n, 2)
        rad.
    axes : matplotlib.axes.Axes, optional
    shown : int
        Points at most, taken at even steps; of a weighted model at even steps in weight.
    model_weights, reference_weights : ndarray, (n,) and (m,), optional
        Sums of 1; equal by default.
    """
    axes = axes or new_axes(4.4, 4.2)
    points = model[:: -(-len(model) // shown)]
    if model_weights is not None:
        points = model[np.unique(systematic(model_weights, min(shown, len(model)), 0.5))]
    axes.plot(
        *np.degrees(points).T, ".", color=MODEL["color"], markersize=2.5, alpha=0.6,
        label=f"model ({len(points):,} of {len(model):,})", rasterized=True,
    )  # fmt: skip
    centres = np.linspace(-180, 180, 73)[:-1] + 2.5
    surface = free_energy(smoothed_density(reference, width=8.0, weights=reference_weights)).T
    lines = axes.contour(
        centres, centres, surface, levels=[1, 3, 5], colors=REFERENCE["color"],
        linestyles=["solid", "dashed", "dotted"],
    )  # fmt: skip
    names = [f"reference, {level:g} kT" for level in lines.levels]
    entries = [axes.lines[0], *lines.legend_elements()[0]]
    axes.legend(
        entries, [str(axes.lines[0].get_label()), *names], loc="lower right", fontsize=7.5,
        framealpha=0.9, markerscale=3,
    )  # fmt: skip
    return _angles(axes)


def free_energy_surface(
    first: np.ndarray, second: np.ndarray, labels: Sequence[str] = ("TIC 1", "TIC 2"),
    axes: Axes | None = None, bins: int = 60, weights: np.ndarray | None = None,
) -> Axes:  # fmt: skip
    """Draw the free energy over any two coordinates that do not wrap, kT above the minimum.

    Parameters
    ----------
    first, second : ndarray, (n,)
    labels : two str
    axes : matplotlib.axes.Axes, optional
    bins : int
        Along each coordinate.
    weights : ndarray, (n,), optional
        Sum of 1; equal by default.
    """
    axes = axes or new_axes(4.9, 4.0)
    counts, x, y = np.histogram2d(first, second, bins=bins, weights=weights)
    surface = np.ma.masked_greater(free_energy(counts / counts.sum()).T, CEILING)
    image = axes.pcolormesh(x, y, surface, cmap="viridis", vmin=0, vmax=CEILING, rasterized=True)
    axes.figure.colorbar(image, ax=axes, label="F / kT", shrink=0.92)
    axes.set(xlabel=labels[0], ylabel=labels[1], title=sizes_in_words(len(first), weights))
    return axes


def torsion_profiles(
    model: np.ndarray, reference: np.ndarray, figure: FigureBase | None = None,
    names: Sequence[str] = ("φ", "ψ"), model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
):  # fmt: skip
    """Draw one-dimensional free-energy profiles of torsions (n, k), kT; returns k axes."""
    names = names[: model.shape[1]]
    figure = figure or Figure(figsize=(8.6, 3.0), layout="constrained")
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    edges = np.linspace(-180, 180, 73)
    sides = (
        (reference, reference_weights, REFERENCE, "reference"),
        (model, model_weights, MODEL, "model"),
    )
    for index, (axis, name) in enumerate(zip(axes, names, strict=True)):
        for torsions, weights, style, label in sides:
            counts, _ = np.histogram(np.degrees(torsions[:, index]), bins=edges, weights=weights)
            profile = free_energy(counts)
            profile[~np.isfinite(profile)] = np.nan  # a gap where there is no sample
            axis.plot((edges[1:] + edges[:-1]) / 2, profile, label=label, **style)
        axis.set(xlabel=f"{name} / °", xlim=(-180, 180), xticks=_TICKS, ylim=(0, None))
        clean(axis)
    axes[0].set_ylabel("F / kT")
    axes[0].legend(frameon=False)
    return axes


def energy_histogram(
    model: np.ndarray,
    reference: np.ndarray,
    axes: Axes | None = None,
    model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
) -> Axes:
    """Draw densities of the reduced energies (n,) and (m,) in kT, one over the other."""
    axes = axes or new_axes(4.4, 3.0)
    low, high = quantile(reference, [0.0005, 0.9995], reference_weights)
    margin = high - low
    left = max(low - margin, min(low - 0.1 * margin, quantile(model, 0.005, model_weights)))
    right = min(high + margin, max(high + 0.1 * margin, quantile(model, 0.995, model_weights)))
    edges = np.linspace(left, right, 70)
    sides = (
        (reference, reference_weights, REFERENCE, "reference"),
        (model, model_weights, MODEL, "model"),
    )
    for energies, weights, style, label in sides:
        counts, _ = np.histogram(energies, bins=edges, weights=weights)
        # Normalised by all samples, so that what lies outside the picture is missing from it.
        whole = len(energies) if weights is None else 1.0
        density = counts / whole / (edges[1] - edges[0])
        axes.stairs(density, edges, label=label, **style)
    outside = share((model < left) | (model > right), model_weights)
    if outside > 0:
        axes.set_title(f"{outside:.1%} of the model's energies are outside", fontsize=9)
    axes.set(xlabel="U / kT", ylabel="density", ylim=(0, None))
    axes.legend(frameon=False)
    return clean(axes)


def sd_ratios(table: list[dict], axes: Axes | None = None) -> Axes:
    """Draw the ratio of standard deviations of every term against 1, from a term table."""
    axes = axes or new_axes(4.4, 3.0)
    markers = {"bond": ("o", "#0072B2"), "angle": ("s", "#E69F00"), "improper": ("^", "#009E73")}
    start = 0
    for kind, (marker, colour) in markers.items():
        ratios = [row["sd_ratio"] for row in table if row["kind"] == kind]
        ratios = [np.nan if ratio is None else ratio for ratio in ratios]
        place = start + np.arange(len(ratios))
        axes.plot(place, ratios, marker, color=colour, markersize=4.5, label=f"{kind}s")
        start += len(ratios)
    axes.axhline(1.0, color="0.4", linewidth=1, linestyle=":")
    shown = [row["sd_ratio"] for row in table if row["sd_ratio"] is not None]
    axes.set_ylim(0, max(2.0, 1.1 * min(max(shown, default=1.0), 10.0)))
    axes.set(xlabel="term", ylabel="sd of model / sd of reference", xticks=[])
    axes.legend(frameon=False, ncols=3, fontsize=8, loc="upper left")
    return clean(axes)


def quality_against_steps(
    steps: Sequence[int], values: Sequence[float | None], label: str,
    spread: Sequence[float | None] | None = None, floor: Sequence[float | None] | None = None,
    floor_name: str = "floor", axes: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw a score against the number of network calls, both on logarithmic scales.

    Parameters
    ----------
    steps : sequence of int
    values : sequence of float or None
        Gaps where None.
    label : str
        Of the score, with its unit.
    spread : sequence of float or None, optional
        Standard deviations over seeds, drawn as bars.
    floor : sequence of float or None, optional
        The same score of perfect samples, or the value that is right.
    floor_name : str
    axes : matplotlib.axes.Axes, optional
    """
    axes = axes or new_axes(3.6, 3.2)

    def column(numbers) -> np.ndarray:
        return np.array([np.nan if x is None else x for x in numbers], float)

    shown = column(values)
    errors = None if spread is None else np.nan_to_num(column(spread))
    if errors is not None:
        # A bar that reaches zero or below has no end on a logarithmic scale.
        errors = np.stack([np.minimum(errors, 0.99 * np.nan_to_num(shown)), errors])
    axes.errorbar(steps, shown, errors, marker="o", markersize=5, capsize=3, label="model", **MODEL)
    if floor is not None:
        axes.plot(steps, column(floor), label=floor_name, **REFERENCE)
        axes.legend(frameon=False, fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="network calls", ylabel=label)
    axes.set_xticks(steps, [str(k) for k in steps])
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    if high < 1e3 * low:
        # Over few decades 0.2 and 0.5 are read more easily than powers of ten.
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    return clean(axes)
