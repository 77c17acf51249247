"""Joining two steps."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from molflow.brownian.basis import Basis
from molflow.brownian.chen import dyadic, join, join_matrix
from molflow.brownian.increment import Increment, sample_increment
from molflow.brownian.legendre import legendre_join_matrix, restriction, shifted_legendre
from molflow.errors import MolflowError


def exact(order, a):
    """A_nm(a) in rationals."""
    return [
        [sum(c * a**k for k, c in enumerate(entry)) for entry in row]
        for row in legendre_join_matrix(order)
    ]


def test_first_rows_at_one_half():
    half = [[str(value) for value in row] for row in exact(4, Fraction(1, 2))]
    assert half == [
        ["1", "0", "0", "0"],
        ["-1/2", "1/2", "0", "0"],
        ["0", "-3/4", "1/4", "0"],
        ["1/8", "3/8", "-5/8", "1/8"],
    ]


@pytest.mark.parametrize("a", [Fraction(1, 2), Fraction(3, 10), Fraction(97, 100)])
def test_tensor_matrix_is_the_exact_one(a):
    order = 16
    matrix = restriction(order, order, torch.tensor(float(a), dtype=torch.float64)).numpy()
    assert np.abs(matrix - np.array(exact(order, a), dtype=float)).max() < 1e-13


@pytest.mark.parametrize("a", [Fraction(1, 2), Fraction(3, 10), Fraction(1, 100)])
def test_variances_add_up_exactly(a):
    order = 10
    left, right = exact(order, a), exact(order, 1 - a)
    for n in range(order):
        for k in range(order):
            total = sum(
                a * left[n][m] * left[k][m] / (2 * m + 1)
                + (1 - a) * (-1) ** (n + k) * right[n][m] * right[k][m] / (2 * m + 1)
                for m in range(order)
            )
            assert total == (Fraction(1, 2 * n + 1) if n == k else 0)


@pytest.mark.parametrize(
    ("basis", "tolerance"),
    [
        (Basis(5), 1e-13),
        (Basis(32), 1e-13),
        (Basis(4, (1.0,)), 1e-12),
        (Basis(1, (2.0,)), 1e-12),
        (Basis(8, (1.0,)), 1e-11),
        (Basis(16, (1.0,)), 1e-9),
    ],
)
@pytest.mark.parametrize("h", [0.0, 1e-9, 1e-3, 0.5, 3.0, 9.0, 30.0, 85.0, 1e4])
@pytest.mark.parametrize("share", [0.5, 0.3, 0.999])
def test_whitened_join_has_orthonormal_rows(basis, tolerance, h, share):
    left = torch.tensor(h * share, dtype=torch.float64)
    matrix = join_matrix(basis, left, h - left)
    error = matrix @ matrix.mT - torch.eye(basis.size)
    assert error.abs().max() < tolerance


def test_two_rates_have_orthonormal_rows():
    for h in (0.2, 1.0, 20.0):
        ends = torch.tensor([0.3 * h, 0.7 * h], dtype=torch.float64)
        matrix = join_matrix(Basis(3, (1.0, 2.5)), *ends)
        assert (matrix @ matrix.mT - torch.eye(5)).abs().max() < 1e-10


def features_of_path(basis, dw, times):
    """Features of a path with constant derivative between times, integrated exactly."""
    s, t = times[0], times[-1]
    node, weight = np.polynomial.legendre.leggauss(12)
    start, width = times[:-1, None], np.diff(times)[:, None]
    u = start + width * (node + 1) / 2
    theta = (u - s) / (t - s)
    rows = [np.polynomial.legendre.Legendre.basis(n)(2 * theta - 1) for n in range(basis.order)]
    rows += [np.exp(-p * (t - u)) for p in basis.rates]
    means = (np.array(rows) * weight / 2).sum(-1)
    return dw @ means.T


@pytest.mark.parametrize("h", [0.3, 5.0])
def test_join_agrees_with_an_integrated_path(h):
    basis = Basis(8, (1.0,))
    generator = np.random.default_rng(0)
    times = np.sort(np.concatenate([[0, 1], generator.random(60)])) * h
    dw = generator.normal(size=(3, 61)) * np.sqrt(np.diff(times))
    middle = 17
    parts = []
    for piece in (slice(0, middle + 1), slice(middle, None)):
        points = times[piece]
        values = features_of_path(basis, dw[:, piece.start : piece.start + len(points) - 1], points)
        length = torch.tensor(points[-1] - points[0])
        parts.append(Increment(basis, length, torch.tensor(values)))
    joined = join(*parts)
    whole = features_of_path(basis, dw, times)
    assert float(joined.h) == pytest.approx(h)
    assert np.abs(joined.coefficients.numpy() - whole[:, :8]).max() < 1e-12
    assert np.abs(joined.exponentials.numpy() - whole[:, 8:]).max() < 1e-9


@pytest.mark.parametrize("middle", [1, 9, 30, 199])
def test_eight_coefficients_agree_with_a_fine_path_at_unequal_splits(middle):
    generator = np.random.default_rng(middle)
    times = 2.2 * np.sort(np.concatenate([[0, 1], generator.random(199)]))
    dw = generator.normal(size=(4, 200)) * np.sqrt(np.diff(times))
    left, right = (
        Increment(
            Basis(8),
            torch.tensor(points[-1] - points[0]),
            torch.tensor(features_of_path(Basis(8), changes, points)),
        )
        for points, changes in (
            (times[: middle + 1], dw[:, :middle]),
            (times[middle:], dw[:, middle:]),
        )
    )
    whole = features_of_path(Basis(8), dw, times)
    assert np.abs(join(left, right).features.numpy() - whole).max() < 1e-12


def test_exponentials_follow_their_rule():
    basis = Basis(4, (1.0,))
    generator = torch.Generator().manual_seed(5)
    lengths = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    left = sample_increment(basis, lengths, (3, 4, 3), generator, torch.float64)
    right = sample_increment(basis, lengths.flip(0), (3, 4, 3), generator, torch.float64)
    decay = torch.exp(-right.h)[:, None, None, None]
    expected = decay * left.exponentials + right.exponentials
    assert (join(left, right).exponentials - expected).abs().max() < 1e-12


def test_joining_is_associative():
    basis = Basis(4, (1.0,))
    generator = torch.Generator().manual_seed(2)
    a, b, c = (
        sample_increment(basis, h, (8, 2, 3), generator, torch.float64) for h in (0.02, 0.5, 2.0)
    )
    one, other = join(join(a, b), c), join(a, join(b, c))
    assert (one.whitened() - other.whitened()).abs().max() < 1e-12


def test_short_steps_join_in_single_precision():
    basis = Basis(4, (1.0,))
    generator = torch.Generator().manual_seed(2)
    a, b = (sample_increment(basis, 1e-3, (8, 2, 3), generator, torch.float64) for _ in "ab")
    low = [
        Increment.from_whitened(basis, part.h.float(), part.whitened().float()) for part in (a, b)
    ]
    assert (join(*low).whitened() - join(a, b).whitened()).abs().max() < 1e-5


def test_a_step_of_no_length_changes_nothing():
    basis = Basis(4, (1.0,))
    generator = torch.Generator().manual_seed(2)
    step = sample_increment(basis, 0.7, (8, 2, 3), generator, torch.float64)
    nothing = sample_increment(basis, 0.0, (8, 2, 3), generator, torch.float64)
    for joined in (join(step, nothing), join(nothing, step)):
        assert (joined.whitened() - step.whitened()).abs().max() < 1e-12


def test_jvp_and_compile_agree_with_finite_differences():
    basis = Basis(4, (1.0,))
    generator = torch.Generator().manual_seed(4)
    z = torch.randn(2, 5, 2, 3, 5, generator=generator, dtype=torch.float64)
    h = torch.rand(5, generator=generator, dtype=torch.float64) + 0.2

    def joined(first, second):
        parts = (
            Increment.from_whitened(basis, length, noise)
            for length, noise in zip((first, second), z, strict=True)
        )
        whole = join(*parts)
        return torch.cat([whole.whitened(), whole.features], dim=-1)

    one, no = torch.ones_like(h), torch.zeros_like(h)
    _, slope = torch.func.jvp(joined, (h, 2 * h), (one, no))
    step = 1e-6
    difference = (joined(h + step, 2 * h) - joined(h - step, 2 * h)) / (2 * step)
    assert (slope - difference).abs().max() < 1e-7
    compiled = torch.compile(joined, fullgraph=True, backend="eager")
    assert (compiled(h, 2 * h) - joined(h, 2 * h)).abs().max() < 1e-12


def test_only_like_increments_join():
    generator = torch.Generator().manual_seed(0)
    one = sample_increment(Basis(2), 1.0, (3, 3), generator)
    others = (
        sample_increment(Basis(3), 1.0, (3, 3), generator),
        sample_increment(Basis(2), 1.0, (3, 4), generator),
        sample_increment(Basis(2), 1.0, (3, 3), generator, torch.float64),
    )
    for other in others:
        with pytest.raises(MolflowError, match="only increments of one path"):
            join(one, other)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: join_matrix(Basis(2), torch.tensor(-0.1), torch.tensor(1.0)), "t - s = -0.1"),
        (lambda: join_matrix(Basis(2), torch.ones(3), torch.tensor([0.1, -2.0, 1])), "t - s = -2"),
        (lambda: join_matrix(Basis(2), torch.ones(3), torch.ones(2)), "broadcast"),
        (lambda: restriction(0, 2, torch.tensor(0.5)), "rows is 0"),
        (lambda: restriction(2, 33, torch.tensor(0.5)), "columns is 33"),
        (lambda: legendre_join_matrix(0), "order is 0"),
        (lambda: shifted_legendre(torch.tensor(0.5), 0), "count is 0"),
    ],
)
def test_errors_say_what_to_do(call, words):
    with pytest.raises(MolflowError, match=words):
        call()


def test_a_path_is_joined_to_half_as_many_steps_again_and_again():
    generator = torch.Generator().manual_seed(8)
    path = [sample_increment(Basis(3, (0.7,)), 0.1 * (k + 1), (5, 2), generator, torch.float64)
            for k in range(8)]  # fmt: skip
    levels = dyadic(path)
    assert [len(level) for level in levels] == [8, 4, 2, 1]
    whole = path[0]
    for one in path[1:]:
        whole = join(whole, one)
    torch.testing.assert_close(levels[-1][0].features, whole.features, atol=1e-12, rtol=0)
    assert float(levels[1][3].h) == pytest.approx(0.7 + 0.8)
