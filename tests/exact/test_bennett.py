"""Bennett's ratio: closed forms, pymbar, weights of both sides, and the extended target."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from molflow.exact.annealing import Schedule, anneal
from molflow.exact.bennett import bennett, one_sided
from molflow.exact.laplace import laplace

WIDTH, SHIFT = 0.7, 0.8
#: ln of the integral of exp(−(x − SHIFT)²/2 WIDTH²) to that of N(0, 1).
TRUE = math.log(WIDTH * math.sqrt(2 * math.pi))


def gaussian_log_weight(x):
    return -0.5 * ((x - SHIFT) / WIDTH) ** 2 + 0.5 * x**2 + 0.5 * math.log(2 * math.pi)


def two_sides(rng, n=4000, m=2500):
    return rng.normal(size=n), SHIFT + WIDTH * rng.normal(size=m)


def test_it_is_pymbars():
    from pymbar import bar

    q, p = two_sides(np.random.default_rng(0))
    ours = bennett(gaussian_log_weight(q), gaussian_log_weight(p))
    theirs = bar(-gaussian_log_weight(q), gaussian_log_weight(p))
    assert ours.value == pytest.approx(-theirs["Delta_f"], abs=1e-6)
    assert ours.value == pytest.approx(TRUE, abs=5 * theirs["dDelta_f"])


def test_both_sides_weighted_are_the_target():
    q, p = two_sides(np.random.default_rng(1))
    ratio = bennett(gaussian_log_weight(q), gaussian_log_weight(p))
    assert ratio.forward.sum() + ratio.backward.sum() == pytest.approx(1.0, abs=1e-8)
    x = np.concatenate([q, p])
    weights = np.concatenate([ratio.forward, ratio.backward])
    mean = weights @ x
    assert mean == pytest.approx(SHIFT, abs=0.05)
    assert weights @ (x - mean) ** 2 == pytest.approx(WIDTH**2, rel=0.08)
    nodes = np.linspace(-8, 8, 4001)
    n, m = len(q) / (len(q) + len(p)), len(p) / (len(q) + len(p))
    one = np.exp(-0.5 * nodes**2) / math.sqrt(2 * math.pi)
    other = np.exp(gaussian_log_weight(nodes) - TRUE) * one
    overlap = np.sum(one * other / (n * one + m * other)) * (nodes[1] - nodes[0])
    assert ratio.overlap == pytest.approx(overlap, abs=0.02)


def test_shares_stand_for_repeated_samples():
    q, p = two_sides(np.random.default_rng(2), 60, 50)
    times = np.random.default_rng(3).integers(1, 4, 60)
    lp, lq = gaussian_log_weight(p), gaussian_log_weight(q)
    weighted = bennett(lq, lp, times / times.sum())
    repeated = bennett(np.repeat(lq, times), lp)
    # The numbers ν differ, the estimate hardly.
    assert weighted.value == pytest.approx(repeated.value, abs=0.02)


def test_what_the_proposal_never_reaches_counts_for_the_target():
    """The proposal is the right half of the target: one half of the mass has no density in it."""
    rng = np.random.default_rng(4)
    q = np.abs(rng.normal(size=3000))
    p = rng.normal(size=3000)
    # Unnormalised target exp(−x²/2), proposal 2 N(x; 0, 1) on x > 0.
    log_weight = 0.5 * math.log(2 * math.pi) - math.log(2)
    backward = np.where(p > 0, log_weight, np.inf)
    ratio = bennett(np.full(3000, log_weight), backward)
    assert ratio.value == pytest.approx(0.5 * math.log(2 * math.pi), abs=0.06)
    assert one_sided(np.full(3000, log_weight), backward, np.full(3000, 1 / 3000))[0] == (
        pytest.approx(log_weight)
    )
    assert q.min() > 0


NOISE, WIDE = 0.5, 1.6
CENTRE = np.array([0.3, -0.2])


def potential(x):
    """exp(−x⁴/4 − x²/8 − x/3) in each coordinate: no Gaussian, no symmetry."""
    return float(np.sum(0.25 * x**4 + x**2 / 8 + x / 3)), x**3 + x / 4 + 1 / 3


def law():
    nodes = np.linspace(-5, 5, 20001)
    density = np.exp(-(0.25 * nodes**4 + nodes**2 / 8 + nodes / 3))
    return nodes, density, 2 * math.log(density.sum() * (nodes[1] - nodes[0]))


def annealed(y, rng, end=None):
    def posterior(x):
        value, slope = potential(x)
        away = x - y
        return value + 0.5 * away @ away / NOISE**2, slope + away / NOISE**2

    base = laplace(posterior, y, 1e-3, 0.5 / NOISE**2)
    # Narrower than the law, and few steps: the estimate is a noisy one.
    base = type(base)(base.mode, 0.6 * base.factor, base.height, base.calls)
    return anneal(posterior, base, Schedule(2, 3, 2, 0.5), rng, end)


def log_weight(y, rng, end=None):
    # ∫ exp(−U(x)) N(y; x, NOISE²) dx / q(y), q = N(CENTRE, WIDE²).
    log_q = -0.5 * np.sum((y - CENTRE) ** 2) / WIDE**2 - math.log(2 * math.pi * WIDE**2)
    return annealed(y, rng, end).log_integral - math.log(2 * math.pi * NOISE**2) - log_q


def sides(n, rng):
    """Return forward weights, backward ones of the extended target, and fresh ones."""
    nodes, density, _ = law()
    forward = [log_weight(CENTRE + WIDE * rng.normal(size=2), rng) for _ in range(n)]
    x = rng.choice(nodes, size=(n, 2), p=density / density.sum())
    y = x + NOISE * rng.normal(size=x.shape)
    backward = [log_weight(b, rng, a) for a, b in zip(x, y, strict=True)]
    fresh = [log_weight(b, rng) for b in y]
    return np.array(forward), np.array(backward), np.array(fresh)


def test_the_extended_target_gives_the_known_integral_and_fresh_estimates_do_not():
    true = law()[2]
    forward, backward, fresh = sides(1500, np.random.default_rng(5))
    rng = np.random.default_rng(6)

    def error(side):
        values = [
            bennett(rng.choice(forward, len(forward)), rng.choice(side, len(side))).value
            for _ in range(60)
        ]
        return np.std(values)

    assert bennett(forward, backward).value == pytest.approx(true, abs=4 * error(backward))
    assert error(backward) < 0.04
    # The mean of 1/w over the extended target is 1/Z; fresh estimates are lower (Jensen).
    inverse = np.exp(true - backward)
    assert inverse.mean() == pytest.approx(1.0, abs=4 * inverse.std() / 1500**0.5)
    gap = backward - fresh
    assert gap.mean() > 8 * gap.std() / 1500**0.5
    assert true - bennett(forward, fresh).value > 2.5 * error(fresh)
    assert logsumexp(forward) - math.log(1500) == pytest.approx(true, abs=0.1)


def test_the_end_is_returned_and_its_chain_is_one_of_all():
    rng = np.random.default_rng(7)
    end = np.array([0.4, -0.9])
    found = annealed(np.array([0.2, -0.5]), rng, end)
    assert np.array_equal(found.point, end) and len(found.log_weights) == 2
