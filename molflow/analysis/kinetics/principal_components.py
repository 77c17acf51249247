"""The widest motions of a weighted reference, in which any ensemble can be compared with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molflow.analysis import weighting
from molflow.analysis.kinetics.slow_coordinates import project
from molflow.analysis.kinetics.time_series import torsion_features


@dataclass(frozen=True)
class PrincipalComponents:
    """Two linear combinations of cos and sin of the torsions, in the reference's sd.

    `mean` is (2 k,) and `matrix` (2 k, coordinates), for one or two coordinates.
    """

    mean: np.ndarray
    matrix: np.ndarray

    def transform(self, torsions: np.ndarray) -> np.ndarray:
        """Return the coordinates (n, 2) of torsions (n, k) rad."""
        return project(torsions, self.mean, self.matrix)


def fit_principal_components(
    torsions: np.ndarray, weights: np.ndarray | None
) -> PrincipalComponents | None:
    """Fit the two directions of largest weighted variance of cos and sin of the torsions.

    They need no order in time, which weighted frames do not have: runs under a bias move otherwise
    than the molecule, so that no time-lagged estimate of them is one of it.

    Parameters
    ----------
    torsions : ndarray, (n, k)
        rad.
    weights : ndarray, (n,), or None

    Returns
    -------
    PrincipalComponents or None
        Each of unit standard deviation, of the two signs that in which the largest coefficient is
        positive; None if nothing moves.
    """
    if not torsions.shape[1]:
        return None
    features = torsion_features(torsions)
    mean = weighting.mean(features, weights)
    centred = features - mean
    equal = np.full(len(features), 1 / len(features)) if weights is None else weights
    values, vectors = np.linalg.eigh((centred * equal[:, None]).T @ centred)
    widest = np.argsort(-values, kind="stable")[:2]
    widest = widest[values[widest] > 1e-12]
    if not len(widest):
        return None
    matrix = vectors[:, widest] / np.sqrt(values[widest])
    matrix = matrix * np.sign(matrix[np.argmax(np.abs(matrix), axis=0), np.arange(len(widest))])
    return PrincipalComponents(mean, matrix)
