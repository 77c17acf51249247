"""Pictures of an ensemble beside its reference; every function returns matplotlib axes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from molflow.analysis.torsion_metrics import free_energy, smoothed_density

#: Colours of Okabe and Ito, told apart by colour-blind readers; line styles differ as well.
MODEL = {"color": "#D55E00", "linestyle": "-", "linewidth": 1.8}
REFERENCE = {"color": "#0072B2", "linestyle": "--", "linewidth": 1.8}
#: Top of the free-energy scales, kT.
CEILING = 8.0
_TICKS = [-120, -60, 0, 60, 120]


def _clean(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def ramachandran(model: np.ndarray, reference: np.ndarray, figure: Figure | None = None):
    """Draw free-energy maps of (phi, psi), model and reference side by side on one scale.

    Parameters
    ----------
    model, reference : ndarray, (n, 2)
        rad.
    figure : matplotlib.figure.Figure, optional

    Returns
    -------
    ndarray, (2,) of matplotlib axes
    """
    figure = figure or Figure(figsize=(8.6, 3.9), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    edges = np.linspace(-180, 180, 73)
    for axis, torsions, title in zip(axes, (model, reference), ("model", "reference"), strict=True):
        # A narrower Gaussian than in the score, so that the picture keeps the basins' edges.
        surface = free_energy(smoothed_density(torsions, width=4.0))
        shown = np.ma.masked_greater(surface.T, CEILING)
        image = axis.pcolormesh(
            edges, edges, shown, cmap="viridis", vmin=0, vmax=CEILING, rasterized=True
        )
        axis.set(title=f"{title} (n = {len(torsions):,})", xlabel="φ / °", aspect="equal")
        axis.set(xticks=_TICKS, yticks=_TICKS)
    axes[0].set_ylabel("ψ / °")
    figure.colorbar(image, ax=axes, label="F / kT", shrink=0.92)
    return axes


def torsion_profiles(model: np.ndarray, reference: np.ndarray, figure: Figure | None = None):
    """Draw one-dimensional free-energy profiles of phi and psi, kT; returns two axes."""
    figure = figure or Figure(figsize=(8.6, 3.0), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    edges = np.linspace(-180, 180, 73)
    sides = ((reference, REFERENCE, "reference"), (model, MODEL, "model"))
    for index, (axis, name) in enumerate(zip(axes, "φψ", strict=True)):
        for torsions, style, label in sides:
            counts, _ = np.histogram(np.degrees(torsions[:, index]), bins=edges)
            profile = free_energy(counts)
            profile[~np.isfinite(profile)] = np.nan  # a gap where there is no sample
            axis.plot((edges[1:] + edges[:-1]) / 2, profile, label=label, **style)
        axis.set(xlabel=f"{name} / °", xlim=(-180, 180), xticks=_TICKS, ylim=(0, None))
        _clean(axis)
    axes[0].set_ylabel("F / kT")
    axes[0].legend(frameon=False)
    return axes


def energy_histogram(model: np.ndarray, reference: np.ndarray, axes: Axes | None = None) -> Axes:
    """Draw densities of the reduced energies (n,) and (m,) in kT, one over the other."""
    axes = axes or Figure(figsize=(4.4, 3.0), layout="constrained").subplots()
    low, high = np.quantile(reference, [0.0005, 0.9995])
    margin = high - low
    left = max(low - margin, min(low - 0.1 * margin, np.quantile(model, 0.005)))
    right = min(high + margin, max(high + 0.1 * margin, np.quantile(model, 0.995)))
    edges = np.linspace(left, right, 70)
    for energies, style, label in ((reference, REFERENCE, "reference"), (model, MODEL, "model")):
        counts, _ = np.histogram(energies, bins=edges)
        # Normalised by all samples, so that what lies outside the picture is missing from it.
        density = counts / len(energies) / (edges[1] - edges[0])
        axes.stairs(density, edges, label=label, **style)
    outside = np.mean((model < left) | (model > right))
    if outside > 0:
        axes.set_title(f"{outside:.1%} of the model's energies are outside", fontsize=9)
    axes.set(xlabel="U / kT", ylabel="density", ylim=(0, None))
    axes.legend(frameon=False)
    return _clean(axes)


def sd_ratios(table: list[dict], axes: Axes | None = None) -> Axes:
    """Draw the ratio of standard deviations of every term against 1, from a term table."""
    axes = axes or Figure(figsize=(4.4, 3.0), layout="constrained").subplots()
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
    return _clean(axes)
