"""Clusters of conformations that a model and its reference share, and a true sample of each.

Both sides are pooled and parted by k-means into at most 100 small cells, which find rare states
where k-means with few centres would split the common one. Cells are then joined by average linkage
up to a width that has a meaning: a quarter turn of one torsion. Both are scipy's; deeptime's
k-means would load torch, which takes longer than the whole comparison of a small ensemble.
"""

from __future__ import annotations

from dataclasses import dataclass

import mdtraj
import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.cluster.vq import kmeans2, vq

from molflow.analysis.molecule.superposition import heavy_atoms, superposed
from molflow.analysis.statistics import Share, evenly_spaced, share_of
from molflow.analysis.weighting import mean, part_of, systematic

#: Samples of a side that are clustered at most, evenly spaced.
SAMPLES = 10_000
#: Clusters that are told at most, the largest ones; the rest are counted together.
MOST = 6
#: A cluster counts from this share of the model or of the reference.
LEAST = 0.002
#: Clusters without torsions are this far apart in root mean square distance, nm.
CARTESIAN_WIDTH = 0.1
_CELLS, _ITERATIONS = 100, 30


@dataclass(frozen=True)
class Cluster:
    """A cluster of conformations.

    Attributes
    ----------
    model, reference : Share
    side : str
        ``model``, or ``reference`` if no sample of the model is in the cluster.
    member : int or None
        Which row of that side lies nearest to the mean of the side's members; None if no frame
        that can be shown is in the cluster.
    """

    model: Share
    reference: Share
    side: str
    member: int | None


def torsion_coordinates(torsions: np.ndarray) -> np.ndarray:
    """Return cosines and sines of torsions (n, k) in rad as coordinates (n, 2 k)."""
    return np.concatenate([np.cos(torsions), np.sin(torsions)], axis=1, dtype=np.float64)


def torsion_width(torsions: int) -> float:
    """Return how far clusters in so many torsions are apart, in `torsion_coordinates`.

    sqrt(2), a quarter turn of one torsion, up to four torsions; then sqrt(torsions / 2), so that
    the thermal width of many torsions together does not part what is one.
    """
    return float(np.sqrt(max(2.0, torsions / 2)))


def cartesian_coordinates(
    positions: np.ndarray, topology: mdtraj.Topology, onto: np.ndarray
) -> np.ndarray:
    """Return positions after superposition, scaled so that distances are root mean squares.

    Parameters
    ----------
    positions : ndarray, (n, n_atoms, 3)
        Finite, nm.
    topology : mdtraj.Topology
    onto : ndarray, (n_atoms, 3)
        Conformation to superpose on by heavy atoms, nm.

    Returns
    -------
    ndarray, (n, 3 k)
        nm; k heavy atoms, or all atoms if none is heavy.
    """
    heavy = heavy_atoms(topology)
    moved = superposed(positions, topology, onto)[:, heavy]
    return moved.reshape(len(positions), -1).astype(np.float64) / np.sqrt(len(heavy))


def _labels(sides: dict[str, np.ndarray], weights: dict, width: float) -> dict[str, np.ndarray]:
    pooled = np.concatenate([
        # k-means knows no weights: of a weighted side rows are repeated by weight.
        side if w is None else side[systematic(w, len(side), 0.5)]
        for side, w in ((sides[s], weights[s]) for s in ("model", "reference"))
    ])  # fmt: skip
    cells = min(_CELLS, len(np.unique(pooled, axis=0)))
    if cells == 1:
        return {side: np.zeros(len(own), int) for side, own in sides.items()}
    rng = np.random.default_rng(1)
    centres, _ = kmeans2(pooled, cells, _ITERATIONS, minit="++", seed=rng)
    joined = fcluster(linkage(centres, "average"), width, "distance") - 1
    return {side: joined[vq(own, centres)[0]] for side, own in sides.items()}


def find_clusters(
    model: np.ndarray,
    reference: np.ndarray,
    width: float,
    runs: np.ndarray | None = None,
    drawable: np.ndarray | None = None,
    most: int = MOST,
    model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
) -> list[Cluster]:
    """Cluster model and reference together.

    Parameters
    ----------
    model : ndarray, (n, d)
        Coordinates of finite samples, from `torsion_coordinates` or `cartesian_coordinates`. At
        most `SAMPLES`, evenly spaced, are used, and as many of the reference.
    reference : ndarray, (m, d)
    width : float
        Clusters whose members are closer on average are one.
    runs : ndarray, (m,), optional
        Label of the run of each frame of the reference; one run by default.
    drawable : ndarray of int, optional
        Frames of the reference that can be shown; all by default.
    most : int
        Clusters at most.
    model_weights, reference_weights : ndarray, (n,) and (m,), optional

    Returns
    -------
    list of Cluster
        The largest first, by the larger of both shares. Their shares sum to less than 1 if there
        are smaller clusters or more of them.
    """
    rows = {
        "model": evenly_spaced(len(model), SAMPLES),
        "reference": evenly_spaced(len(reference), SAMPLES),
    }
    rows["drawable"] = rows["reference"] if drawable is None else np.asarray(drawable)
    sides = {side: (model if side == "model" else reference)[own] for side, own in rows.items()}
    given = {"model": model_weights, "reference": reference_weights}
    weights = {side: part_of(w, rows[side]) for side, w in given.items()}
    weights["drawable"] = None if reference_weights is None else reference_weights[rows["drawable"]]
    labels = _labels(sides, weights, width)
    bins = 1 + max(own.max() for own in labels.values())
    shares = np.max(
        [_bin_shares(labels[s], weights[s], bins) for s in ("model", "reference")], axis=0
    )
    order = [k for k in np.argsort(-shares, kind="stable") if shares[k] >= LEAST][:most]
    return [_cluster(k, rows, sides, labels, weights, runs) for k in order]


def _bin_shares(labels: np.ndarray, weights: np.ndarray | None, bins: int) -> np.ndarray:
    if weights is None:
        return np.bincount(labels, minlength=bins) / len(labels)
    return np.bincount(labels, weights, minlength=bins)


def _cluster(
    k: int, rows: dict, sides: dict, labels: dict, weights: dict, runs: np.ndarray | None
) -> Cluster:
    # Samples of no weight are in no cluster, and none of them is shown.
    members = {
        side: (own == k) if weights[side] is None else (own == k) & (weights[side] > 0)
        for side, own in labels.items()
    }
    main = "model" if members["model"].any() else "reference"
    centre = mean(sides[main][members[main]], part_of(weights[main], members[main]))
    shown = "model" if main == "model" else "drawable"
    candidates = np.flatnonzero(members[shown])
    member = None
    if len(candidates):
        away = np.linalg.norm(sides[shown][candidates] - centre, axis=1)
        member = int(rows[shown][candidates[np.argmin(away)]])
    return Cluster(
        model=share_of(members["model"], weights=weights["model"]),
        reference=share_of(
            members["reference"], None if runs is None else runs[rows["reference"]],
            weights["reference"],
        ),
        side=main,
        member=member,
    )
