"""One true sample of every cluster, named by its basins and posed to be looked at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from molflow.analysis.features import Features
from molflow.analysis.molecule.superposition import heavy_atoms, superposed
from molflow.analysis.observables import BASIN_NAMES, basin_shares
from molflow.analysis.reference import Reference
from molflow.analysis.reporting.clusters import (
    CARTESIAN_WIDTH,
    SAMPLES,
    Cluster,
    cartesian_coordinates,
    find_clusters,
    torsion_coordinates,
    torsion_width,
)
from molflow.analysis.samples import Samples
from molflow.analysis.statistics import evenly_spaced
from molflow.analysis.weighting import part_of

#: Atoms of all samples that are held at once where positions are clustered.
_ATOMS = 4_000_000

Read = Callable[[np.ndarray], np.ndarray]


def representatives(samples: Samples, scored: Reference, read: Read) -> dict | None:
    """Cluster an ensemble with its reference and choose a sample of each cluster.

    In torsions where there are any, otherwise in positions after superposition.

    Parameters
    ----------
    samples : Samples
        All of the ensemble; those that are not finite are left out.
    scored : Reference
        The runs that are scored against.
    read : callable
        Gives positions (k, n_atoms, 3) in nm of samples (k,), sorted.

    Returns
    -------
    dict or None
        JSON-safe: ``method``, ``n_model``, ``n_reference`` and ``clusters``, each with ``name``,
        ``torsions`` (degrees by name), ``model`` and ``reference`` (``share`` and its standard
        ``error``), ``of`` (model or reference) and ``sample`` (number of the sample, or of the
        stored position of the scored runs, or None); ``elsewhere`` are the shares in no cluster
        that is told. None for molecules of fewer than three atoms.
    """
    features = samples.features
    if len(features.atoms) < 3:
        return None
    rows = np.flatnonzero(samples.validity.finite)
    if features.torsions:
        model = torsion_coordinates(samples.torsions[rows])
        truth = torsion_coordinates(scored.torsions[:, features.columns])
        frames, width = scored.position_frame, torsion_width(len(features.torsions))
        runs, theirs = scored.replica, scored.weights
        method = f"{len(features.torsions)} torsions"
    else:
        most = int(np.clip(_ATOMS // len(features.atoms), 100, SAMPLES))
        rows = rows[evenly_spaced(len(rows), most)]
        kept = evenly_spaced(len(scored.positions), most)
        own = scored.positions[kept][:, features.atoms]
        model = cartesian_coordinates(read(rows), features.topology, own[0])
        truth = cartesian_coordinates(own, features.topology, own[0])
        frames, width = np.arange(len(kept)), CARTESIAN_WIDTH
        runs = scored.replica[scored.position_frame[kept]]
        theirs = part_of(scored.position_weights, kept)
        method = "positions after superposition"
    mine = part_of(samples.weights, rows)
    found = find_clusters(
        model, truth, width, runs, frames, model_weights=mine, reference_weights=theirs
    )
    place = dict(zip(frames.tolist(), range(len(frames)), strict=True))
    entries = []
    for cluster in found:
        entry = _entry(cluster)
        if cluster.side == "model":
            entry["sample"] = int(rows[cluster.member])
        elif cluster.member is not None:
            number = place[cluster.member]
            entry["sample"] = number if features.torsions else int(kept[number])
        if features.torsions and cluster.member is not None:
            side = (
                samples.torsions[rows]
                if cluster.side == "model"
                else (scored.torsions[:, features.columns])
            )
            entry |= _angles(side[cluster.member], features)
        entries.append(entry)
    return {
        "method": method,
        "n_model": min(len(model), SAMPLES),
        "n_reference": min(len(truth), SAMPLES),
        "clusters": entries,
        "elsewhere": {
            side: max(0.0, 1.0 - sum(entry[side]["share"] for entry in entries))
            for side in ("model", "reference")
        },
    }


def _entry(cluster: Cluster) -> dict:
    return {
        "name": None,
        "torsions": {},
        "model": {"share": cluster.model.value, "error": cluster.model.error},
        "reference": {"share": cluster.reference.value, "error": cluster.reference.error},
        "of": cluster.side,
        "sample": None,
    }


def _angles(torsions: np.ndarray, features: Features) -> dict:
    basins = []
    for pair in features.pairs:
        shares = basin_shares(torsions[pair][None])
        basins.append(BASIN_NAMES[max(shares, key=lambda name: shares[name])])
    return {
        "name": " ".join(basins) or None,
        "torsions": {
            torsion.name: float(np.degrees(angle))
            for torsion, angle in zip(features.torsions, torsions, strict=True)
        },
    }


def posed(positions: np.ndarray, topology) -> np.ndarray:
    """Return conformations laid on the first, centred, the long axes of that one along x and y.

    Parameters
    ----------
    positions : ndarray, (k, n_atoms, 3)
        nm.
    topology : mdtraj.Topology

    Returns
    -------
    ndarray, (k, n_atoms, 3)
        nm; turned and shifted, never mirrored.
    """
    heavy = heavy_atoms(topology)
    moved = superposed(positions, topology, positions[0]).astype(np.float64)
    moved -= moved[0, heavy].mean(axis=0)
    _, _, axes = np.linalg.svd(moved[0, heavy], full_matrices=True)
    axes[2] *= np.sign(np.linalg.det(axes))
    return moved @ axes.T


def positions_of(found: dict, samples: Samples, scored: Reference, read: Read) -> np.ndarray:
    """Return posed positions (k, n_atoms, 3) of the clusters that have a sample, nm."""
    shown = [entry for entry in found["clusters"] if entry["sample"] is not None]
    own = np.array(sorted(e["sample"] for e in shown if e["of"] == "model"), int)
    mine = dict(zip(own.tolist(), read(own), strict=True)) if len(own) else {}
    atoms = samples.features.atoms
    positions = [
        mine[e["sample"]] if e["of"] == "model" else scored.positions[e["sample"]][atoms]
        for e in shown
    ]
    return posed(np.array(positions), samples.features.topology)
