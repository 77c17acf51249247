"""Every definition against an independent coding of its formula and against known answers."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ive
from scipy.stats import vonmises
from synthetic import torsion_samples

from molflow.analysis import torsion_metrics as tm


@pytest.fixture(scope="module")
def pair():
    return torsion_samples(4000, 0.03, seed=1), torsion_samples(5000, 0.06, seed=2)


def histogram(x, bins, bounds=((-np.pi, np.pi),) * 2):
    return np.histogram2d(x[:, 0], x[:, 1], bins=bins, range=bounds)[0] / len(x)


def test_pmf_error_is_its_formula(pair):
    q, p = (histogram(x, 62) for x in pair)
    total = weights = 0.0
    for a, b in zip(p.flat, q.flat, strict=True):
        if a > 0 or b > 0:
            a, b = a or 1e-6, b or 1e-6
            total += (a + b) / 2 * (np.log(b) - np.log(a)) ** 2
            weights += (a + b) / 2
    assert tm.pmf_error(*pair) == pytest.approx(total / weights, rel=1e-12)


def test_pmf_error_of_two_states():
    # 30 % and 70 % against 50 % and 50 % in the same two bins.
    states = np.array([[-1.0, 0.0], [1.0, 0.0]])
    model, truth = np.repeat(states, [30, 70], axis=0), np.repeat(states, 50, axis=0)
    exact = 0.4 * np.log(0.3 / 0.5) ** 2 + 0.6 * np.log(0.7 / 0.5) ** 2
    assert tm.pmf_error(model, truth) == pytest.approx(exact, rel=1e-12)


def test_js_divergence_is_scipys(pair):
    from scipy.spatial.distance import jensenshannon

    q, p = (histogram(x, 64).ravel() for x in pair)
    assert tm.js_distance(*pair) == pytest.approx(jensenshannon(p, q), rel=1e-10)
    assert tm.js_divergence(*pair) == pytest.approx(jensenshannon(p, q) ** 2, rel=1e-10)
    both = np.concatenate(pair)
    bounds = list(zip(both.min(axis=0), both.max(axis=0), strict=True))
    q, p = (histogram(x, 64, bounds).ravel() for x in pair)
    assert tm.js_divergence_pooled(*pair) == pytest.approx(jensenshannon(p, q) ** 2, rel=1e-9)


def test_js_divergence_of_disjoint_and_equal_sets():
    a = np.full((10, 2), -1.0)
    assert tm.js_divergence(a, -a) == pytest.approx(np.log(2), rel=1e-12)
    assert tm.js_divergence(a, a) == 0.0


def test_angles_at_the_edges_are_counted():
    edge = np.array([[np.pi, -np.pi], [-np.pi, np.pi]])
    for metric in (tm.pmf_error, tm.js_divergence, tm.fes_rmse):
        assert metric(edge, edge) == pytest.approx(0.0, abs=1e-12)


def test_fes_rmse_is_its_formula(pair):
    def density(x):
        counts = histogram(x, 72)
        # Direct periodic sums, no transforms.
        kernel = np.zeros(72)
        for turn in (-720, -360, 0, 360, 720):
            for i, angle in enumerate(np.arange(72) * 5.0):
                kernel[i] += np.exp(-0.5 * ((angle + turn) / 10.0) ** 2)
        kernel /= kernel.sum()
        matrix = np.array([[kernel[(i - j) % 72] for j in range(72)] for i in range(72)])
        return matrix @ counts @ matrix.T

    q, p = map(density, pair)
    with np.errstate(divide="ignore"):
        f, g = -np.log(p), -np.log(q)
    f, g = f - f.min(), np.minimum(g - g.min(), 8)
    use = f < 6
    weight = p[use] / p[use].sum()
    shifts = np.linspace(-2, 2, 4001)
    difference = (g - f)[use]
    best = min(np.sum(weight * (difference - shift) ** 2) for shift in shifts)
    assert tm.fes_rmse(*pair) == pytest.approx(np.sqrt(best), rel=1e-5)


def test_smoothed_density_of_von_mises_is_its_convolution():
    kappa, n = 4.0, 200_000
    angles = vonmises.rvs(kappa, size=(n, 2), random_state=3)
    marginal = tm.smoothed_density(angles, bins=72, width=10.0).sum(axis=1)
    # The wrapped Gaussian damps the k-th harmonic I_k/I_0 of von Mises by exp(-k^2 s^2 / 2).
    centres = np.radians(np.arange(72) * 5 - 177.5)
    k = np.arange(1, 30)
    harmonics = ive(k, kappa) / ive(0, kappa) * np.exp(-0.5 * (k * np.radians(10)) ** 2)
    exact = (1 + 2 * np.cos(np.outer(centres, k)) @ harmonics) / 72
    assert np.abs(marginal - exact).max() < 5 * np.sqrt(exact.max() / n)


def test_delta_f_of_von_mises_by_quadrature():
    n = 100_000
    phi = vonmises.rvs(1.5, loc=-1.0, size=n, random_state=5)
    inside, _ = quad(lambda x: vonmises.pdf(x, 1.5, loc=-1.0), 0, 2)
    exact = -np.log(inside / (1 - inside))
    found = tm.delta_f_alpha_l(np.stack([phi, phi], axis=1))
    assert abs(found - exact) < 4 / np.sqrt(n * inside * (1 - inside))


def test_delta_f_of_counts_and_of_a_missing_basin():
    torsions = np.repeat([[1.0, 0.0], [-1.0, 0.0]], [20, 80], axis=0)
    assert tm.delta_f_alpha_l(torsions) == pytest.approx(np.log(4), rel=1e-12)
    assert tm.delta_f_alpha_l(torsions[20:]) == np.inf
    assert tm.delta_f_alpha_l(torsions[20:], least=0.5) == pytest.approx(np.log(160), rel=1e-12)


def test_torus_w2_wraps_and_is_exact_for_a_shift():
    rng = np.random.default_rng(0)
    cloud = rng.normal(scale=0.05, size=(200, 2))
    shifted = cloud + [1.0, 0.0]
    around = (cloud + [np.pi, 0.4] + np.pi) % (2 * np.pi) - np.pi
    # A rigid shift is the optimal plan where no pair is half a turn apart.
    assert tm.torus_w2(shifted, cloud, rng) == pytest.approx(1.0, abs=1e-6)
    near = (cloud + [-np.pi + 0.1, 0.4] + np.pi) % (2 * np.pi) - np.pi
    assert tm.torus_w2(around, near, rng) == pytest.approx(0.1, abs=1e-6)


def test_torus_w2_is_the_best_assignment(pair):
    from scipy.optimize import linear_sum_assignment

    a, b = pair[0][:150], pair[1][:150]
    cost = np.zeros((150, 150))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            cost[i, j] = sum(np.angle(np.exp(1j * (x - y))) ** 2)
    rows, columns = linear_sum_assignment(cost)
    exact = np.sqrt(cost[rows, columns].mean())
    assert tm.torus_w2(a, b, np.random.default_rng(0)) == pytest.approx(exact, rel=1e-9)


def test_even_thinning_keeps_shares(pair):
    share = tm.in_alpha_l(pair[0]).mean()
    for seed in range(5):
        thin, _ = tm.thin_evenly(pair[0], 500, np.random.default_rng(seed))
        assert len(np.unique(thin, axis=0)) == 500
        # A random subset would scatter by 0.0076.
        assert abs(tm.in_alpha_l(thin).mean() - share) < 0.0045
