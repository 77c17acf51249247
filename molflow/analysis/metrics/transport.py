"""Metrics by exact optimal transport, thinned to what the exact solver can do."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from molflow.analysis import torsion_metrics as t
from molflow.analysis.metrics.entry import Metric
from molflow.analysis.weighting import part_of, systematic

#: Samples of each of the four sets that `torus_w2_debiased` transports.
DEBIASED_SIZE = 750


def _flat(torsions: np.ndarray) -> np.ndarray:
    return torsions.reshape(len(torsions), -1)


def torus_w2_all(
    model: np.ndarray, reference: np.ndarray, rng: np.random.Generator, *weights
) -> float:
    """Torus W2 over all the angles together, rad; (n, k) or (n, residues, 2)."""
    return t.torus_w2(_flat(model), _flat(reference), rng, *weights)


def torus_w2_per_residue(
    model: np.ndarray, reference: np.ndarray, rng: np.random.Generator, *weights
) -> float:
    """Mean over residues of the torus W2 of (phi, psi), rad; (n, residues, 2)."""
    residues = range(model.shape[1])
    found = [t.torus_w2(model[:, r], reference[:, r], rng, *weights) for r in residues]
    return float(np.mean(found))


def torus_w2_debiased(
    model: np.ndarray,
    reference: np.ndarray,
    rng: np.random.Generator,
    model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
) -> float:
    """Torus W2 with the cost of finite samples taken off, rad.

    With each side cut at random into two halves a, a' and b, b' of equal size: the root of the
    mean of W2²(a, b) and W2²(a', b') less the mean of W2²(a, a') and W2²(b, b'), and 0 where that
    is negative. Half against half of the same law costs what unlike halves cost by chance alone.
    Halves of a weighted side are cut at random and then drawn from by weight.
    """
    halves = []
    given = (model, model_weights), (reference, reference_weights)
    for side, weights in given:
        side, drawn = _flat(side), rng.permutation(len(side))
        if weights is None:
            drawn = drawn[: 2 * DEBIASED_SIZE]
            halves.append((side[drawn[::2]], side[drawn[1::2]]))
        else:
            parts = drawn[::2], drawn[1::2]
            size = min(DEBIASED_SIZE, len(parts[1]))
            first, second = (
                side[p[systematic(part_of(weights, p), size, rng.random())]] for p in parts
            )
            halves.append((first, second))
    (a, c), (b, d) = halves
    w2 = [t.torus_w2(x, y, rng) ** 2 for x, y in ((a, b), (c, d), (a, c), (b, d))]
    return float(np.sqrt(max(0.0, (w2[0] + w2[1] - w2[2] - w2[3]) / 2)))


def plane_w2(
    model: np.ndarray,
    reference: np.ndarray,
    rng: np.random.Generator,
    model_weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
    size: int = t.TORUS_W2_SIZE,
) -> float:
    """Wasserstein-2 distance of points (n, d) by exact optimal transport.

    Each side is first thinned evenly to at most `size` samples.
    """
    a, own = t.thin_evenly(model, size, rng, model_weights)
    b, other = t.thin_evenly(reference, size, rng, reference_weights)
    return float(np.sqrt(t.transport_cost(cdist(a, b, "sqeuclidean"), own, other)))


_COST = (
    "Root of the exact optimal transport cost, sum over angles of min(|d|, 2 pi - |d|)^2, on each "
    f"side thinned to {t.TORUS_W2_SIZE} samples at most"
)
_TBG = "transferable Boltzmann generators and their successors ('T-W2')"

ENTRIES = [
    Metric(
        "torus_w2", "Torus Wasserstein-2", "backbone", "rad",
        f"{_COST}; all phi and psi together; mean of two thinnings.", _TBG, torus_w2_all,
        slow=True,
    ),
    Metric(
        "torus_w2_per_residue", "Torus Wasserstein-2, mean over residues", "backbone", "rad",
        f"{_COST}; phi and psi of each residue by themselves, mean over residues: the bias of "
        "finite samples does not grow with the number of residues.", "molflow",
        torus_w2_per_residue, slow=True, shown=False,
    ),
    Metric(
        "torus_w2_debiased", "Torus Wasserstein-2, debiased", "backbone", "rad",
        "Root of the mean of W2²(a, b) and W2²(a', b') less the mean of W2²(a, a') and "
        f"W2²(b, b'), a and a' halves of the model, b and b' of the reference, {DEBIASED_SIZE} "
        "samples each at most; 0 where negative.",
        "the debiasing of Sinkhorn divergences (arXiv 1810.08278), by halves", torus_w2_debiased,
        slow=True, shown=False,
    ),
    Metric(
        "torus_w2_all", "Torus Wasserstein-2 of all torsions", "torsions", "rad",
        f"{_COST}; all torsions of the molecule together, side chains and rotatable bonds too.",
        "molflow", torus_w2_all, slow=True, shown=False,
    ),
    Metric(
        "tica_w2", "Slowest coordinates, Wasserstein-2", "tics", "sd",
        "Exact optimal transport between the first two TICA coordinates, fitted on the reference "
        "alone and in units of its standard deviations, each side thinned to "
        f"{t.TORUS_W2_SIZE} samples at most.",
        "molflow's units; the 'TICA W2' of published tables is in those of their own TICA",
        plane_w2, slow=True,
    ),
    Metric(
        "pca_w2", "Principal components, Wasserstein-2", "pcs", "sd",
        "Exact optimal transport between the first two principal components of cosines and sines "
        "of the torsions, fitted on the weighted reference alone and in units of its standard "
        f"deviations, each side thinned to {t.TORUS_W2_SIZE} samples at most. For references whose "
        "frames were made under a bias, whose correlations in time are not the molecule's.",
        "molflow", plane_w2, slow=True,
    ),
]  # fmt: skip
