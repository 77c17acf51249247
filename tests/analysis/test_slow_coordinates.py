import numpy as np
import pytest
from scipy.linalg import eigh

from molflow.analysis.kinetics.slow_coordinates import fit_slow_coordinates
from molflow.analysis.kinetics.time_series import torsion_features


def wandering(n, seed):
    """Two torsions: the first hops between two wells, the second moves fast about 1 rad."""
    rng = np.random.default_rng(seed)
    well = np.cumsum(rng.random(n) < 0.01) % 2
    first = np.where(well == 0, -1.2, 1.2) + rng.normal(scale=0.2, size=n)
    return np.stack([first, 1.0 + rng.normal(scale=0.3, size=n)], axis=1)


def test_modes_solve_the_generalised_eigenproblem():
    runs = np.repeat([0, 1], 4000)
    torsions = np.concatenate([wandering(4000, 1), wandering(4000, 2)])
    modes = fit_slow_coordinates(torsions, runs, 1.0)
    assert modes.lag == 10
    # Symmetrised covariances over the pairs of both runs, and scipy's solver.
    pairs = [torsion_features(torsions[runs == run]) for run in (0, 1)]
    early = np.concatenate([x[:-10] for x in pairs])
    late = np.concatenate([x[10:] for x in pairs])
    mean = (early.mean(0) + late.mean(0)) / 2
    early, late = early - mean, late - mean
    instant = early.T @ early + late.T @ late
    values, vectors = eigh(early.T @ late + late.T @ early, instant)
    assert np.exp(-10 / modes.timescales) == pytest.approx(values[::-1][:2], rel=1e-6)
    exact = (torsion_features(torsions) - mean) @ vectors[:, ::-1][:, :2]
    exact /= exact.std(axis=0)
    found = modes.transform(torsions)
    for k in range(2):
        assert abs(np.corrcoef(found[:, k], exact[:, k])[0, 1]) == pytest.approx(1, abs=1e-6)
    assert found.std(axis=0) == pytest.approx([1, 1])
    # The slow one tells the wells apart; its eigenvalue is that of a two-state chain.
    assert np.exp(-10 / modes.timescales[0]) == pytest.approx(0.98**10, abs=0.05)


def test_too_short_or_rigid_references_have_none():
    assert fit_slow_coordinates(wandering(99, 1), np.zeros(99), 1.0) is None
    assert fit_slow_coordinates(np.ones((500, 2)), np.zeros(500), 1.0) is None
    assert fit_slow_coordinates(wandering(99, 1), np.zeros(99), 5.0).lag == 2
