"""Which pictures a comparison gets; each can be drawn on a figure or on a part of a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure, FigureBase

from molflow.analysis import plots
from molflow.analysis import torsion_metrics as torsion_maps
from molflow.analysis.reference import Reference
from molflow.analysis.reporting.molecule_drawing import draw_molecule, reach_of
from molflow.analysis.samples import Samples

#: Of every picture that a comparison may have.
NAMES = ("clusters", "free_energy_maps", "torsion_profiles", "energies", "fluctuations")
_COLUMNS = 3
_PROFILES = "Free energy along each torsion, bins of 5°; gaps where there is no sample."


@dataclass(frozen=True)
class Picture:
    """A picture of the report.

    Attributes
    ----------
    name : str
        Stem of its files.
    title, note : str
        What it shows, and how to read it.
    size : pair of float
        Width and height, inches.
    draw : callable
        Draws it on a `matplotlib.figure.Figure` or a part of one.
    """

    name: str
    title: str
    note: str
    size: tuple[float, float]
    draw: Callable[[FigureBase], object]

    @property
    def width(self) -> str:
        """Whether the picture takes the ``full`` width of a page or ``half`` of it."""
        return "full" if self.size[0] > 6 else "half"

    def figure(self) -> Figure:
        """Return a figure of its own."""
        made = Figure(figsize=self.size, layout="constrained")
        self.draw(made)
        return made


def pictures(
    result: dict, samples: Samples, scored: Reference,
    energies: tuple[np.ndarray, np.ndarray] | None, molecules: np.ndarray | None,
    energy_weights: np.ndarray | None = None,
) -> list[Picture]:  # fmt: skip
    """Choose the pictures of a comparison.

    Parameters
    ----------
    result : dict
        From `molflow.comparison.compare`.
    samples : Samples
        Finite ones.
    scored : Reference
        The runs that are scored against.
    energies : pair of ndarray, (n,), or None
        Model and reference, kT.
    molecules : ndarray, (k, n_atoms, 3), or None
        Representatives of clusters from `molflow.analysis.reporting.representatives.positions_of`.
    energy_weights : ndarray, (n,), optional
        Of the model's energies.
    """
    features, made = samples.features, []
    if molecules is not None:
        made.append(_clusters(result["clusters"], molecules, features.topology))
    truth = scored.torsions[:, features.columns]
    weights = samples.weights, scored.weights
    both = _sizes(len(samples), len(truth), *weights)
    if len(features.pairs):
        maps = [(samples.torsions[:, pair], truth[:, pair]) for pair in features.pairs]
        worst = int(np.argmax([torsion_maps.fes_rmse(*sides, *weights) for sides in maps]))
        several = len(maps) > 1
        of = f" of {features.residues[worst]}, the worst of {len(maps)}" if several else ""
        made += [
            Picture(
                "free_energy_maps", "Free-energy maps" + of,
                f"Same scale, in kT above each minimum; white above {plots.CEILING:g} kT or never "
                f"visited. {both}",
                (8.6, 3.9), lambda figure: plots.ramachandran(*maps[worst], figure, *weights),
            ),
            Picture(
                "torsion_profiles", "Profiles of the torsions" + of,
                f"{_PROFILES} {both}",
                (8.6, 3.0),
                lambda figure: plots.torsion_profiles(
                    *maps[worst], figure, model_weights=weights[0], reference_weights=weights[1]
                ),
            ),
        ]  # fmt: skip
    elif features.torsions:
        moved = [row["misplaced"] for row in result["observables"]["torsions"]]
        two = np.argsort(moved)[::-1][:2]
        names = [features.torsions[i].name for i in two]
        sides = (samples.torsions[:, two], truth[:, two])
        made.append(Picture(
            "torsion_profiles", "Profiles of the worst torsions",
            f"{_PROFILES} {both}",
            (8.6, 3.0), lambda figure: plots.torsion_profiles(*sides, figure, names, *weights),
        ))  # fmt: skip
    if energies is not None:
        made.append(Picture(
            "energies", "Potential energies",
            "Densities over all samples, also those outside the picture. "
            + _sizes(len(energies[0]), len(energies[1]), energy_weights, scored.weights),
            (4.4, 3.0),
            lambda figure: plots.energy_histogram(
                *energies, figure.subplots(), energy_weights, scored.weights
            ),
        ))  # fmt: skip
    made.append(Picture(
        "fluctuations", "Fluctuations of the geometry",
        "Below 1: thermal fluctuation was lost. "
        + _sizes(
            len(samples.terms), len(scored.positions), samples.term_weights,
            scored.position_weights,
        ),
        (4.4, 3.0), lambda figure: plots.sd_ratios(result["geometry"], figure.subplots()),
    ))  # fmt: skip
    return made


def _sizes(model: int, reference: int, model_weights, reference_weights) -> str:
    own = plots.sizes_in_words(model, model_weights)
    return f"Model {own}, reference {plots.sizes_in_words(reference, reference_weights)}."


def shown_clusters(found: dict) -> list[dict]:
    """Return the clusters that have a sample to show, in the order of their positions."""
    return [entry for entry in found["clusters"] if entry["sample"] is not None]


def cluster_title(number: int, entry: dict) -> str:
    """Return number and name of a cluster."""
    return f"{number} · {entry['name']}" if entry["name"] else f"{number}"


def _clusters(found: dict, molecules: np.ndarray, topology) -> Picture:
    entries = shown_clusters(found)
    rows, reach = -(-len(entries) // _COLUMNS), reach_of(molecules, topology)

    def draw(figure: FigureBase) -> None:
        grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axes in grid[len(entries) :]:
            axes.set_axis_off()
        for number, (axes, entry, xyz) in enumerate(zip(grid, entries, molecules, strict=False), 1):
            draw_molecule(xyz, topology, axes, reach)
            shares = [
                f"{side} {100 * entry[side]['share']:.2f} ± {100 * entry[side]['error']:.2f} %"
                for side in ("model", "reference")
            ]
            axes.set_title(cluster_title(number, entry), fontsize=10)
            axes.text(0.5, -0.02, "\n".join(shares), transform=axes.transAxes, ha="center",
                      va="top", fontsize=8)  # fmt: skip

    return Picture(
        "clusters", "Clusters",
        "A true sample of each cluster, the one nearest to its middle; share of the model and of "
        f"the reference with standard errors. Model n = {found['n_model']:,}, "
        f"reference n = {found['n_reference']:,}.",
        (8.6, (2.8 * reach[1] / reach[0] + 0.8) * rows), draw,
    )  # fmt: skip
