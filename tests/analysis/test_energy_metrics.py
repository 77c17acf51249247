import numpy as np
import pytest
from scipy.stats import norm

from molflow.analysis import energy_metrics as em


def test_reduced_energies_by_hand():
    assert em.reduced_energies(np.array([2.494338785]), 300.0)[0] == pytest.approx(1.0, rel=1e-9)


def test_distances_of_normal_quantiles():
    # Wasserstein distances of two normals: W2^2 = dm^2 + ds^2; W1 = dm for equal widths.
    levels = (np.arange(20_000) + 0.5) / 20_000
    a, b = norm.ppf(levels, 1.5, 1.0), norm.ppf(levels, 0.0, 1.4)
    assert em.energy_w2(a, b) == pytest.approx(np.sqrt(1.5**2 + 0.4**2), rel=1e-4)
    assert em.energy_w1(a, a - 2.0) == pytest.approx(2.0, rel=1e-12)


def test_unequal_sizes_against_scipy():
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=300), rng.gumbel(size=470)
    assert em.energy_w1(a, b) == pytest.approx(wasserstein_distance(a, b), rel=1e-10)


def test_one_wild_energy_counts_fully():
    quiet = np.zeros(1000)
    wild = quiet.copy()
    wild[0] = 1e4
    assert em.energy_w1(wild, quiet) == pytest.approx(10.0)
    assert em.energy_w2(wild, quiet) == pytest.approx(np.sqrt(1e5))


def test_tail_share():
    reference = np.arange(1001.0)
    assert em.energy_tail(np.array([998.5, 999.5, 1e6, 0.0]), reference) == 0.5
