"""One path, asked in many ways."""

import numpy as np
import pytest
import torch
from scipy import stats

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join
from molflow.brownian.derivatives import whitened_by_end
from molflow.brownian.path import BrownianPath
from molflow.errors import MolflowError

BASIS = Basis(4, (1.0,))


def make(seed=1, **changes):
    settings = {"depth": 12, "dtype": torch.float64} | changes
    return BrownianPath(BASIS, 0.5, 9.0, (3, 2, 3), seed, **settings)


def test_steps_join_to_the_whole_in_any_order():
    path = make()
    times = [path.snap(t) for t in (0.5, 0.9, 3.3, 3.4, 7.77, 9.0)]
    pairs = list(zip(times[:-1], times[1:], strict=True))
    steps = {pair: path.increment(*pair) for pair in reversed(pairs)}
    joined = steps[pairs[0]]
    for pair in pairs[1:]:
        joined = join(joined, steps[pair])
    for other in (path, make()):
        whole = other.increment(0.5, 9.0)
        assert (joined.whitened() - whole.whitened()).abs().max() < 1e-11
    assert float(joined.h) == pytest.approx(8.5)


def test_the_same_whatever_was_asked_before_or_forgotten():
    fresh, used = make(), make()
    used._capacity = 60
    for k in range(400):
        used.increment(0.5 + 8.5 * k / 400, 0.5 + 8.5 * (k + 1) / 400)
    assert len(used._cache) <= 60
    for s, t in ((2.0, 2.1), (0.5, 9.0), (4.0, 8.9)):
        one, other = fresh.increment(s, t), used.increment(s, t)
        assert torch.equal(one.features, other.features)


def test_seeds_and_precision():
    one, other = make(seed=1).increment(1.0, 2.0), make(seed=2).increment(1.0, 2.0)
    assert (one.whitened() - other.whitened()).abs().min() > 1e-6
    single = make(seed=1, dtype=torch.float32).increment(1.0, 2.0)
    assert single.features.dtype == torch.float32
    assert (single.whitened() - one.whitened()).abs().max() < 1e-6


def test_steps_are_independent_and_standard_normal():
    path = BrownianPath(BASIS, 0.0, 8.5, (2000, 1, 3), 11, depth=10, dtype=torch.float64)
    times = [0.0, 0.1, 2.0, 4.25, 8.5]
    z = np.concatenate(
        [
            path.increment(s, t).whitened().reshape(-1, BASIS.size).numpy()
            for s, t in zip(times[:-1], times[1:], strict=True)
        ],
        axis=1,
    )
    assert min(stats.kstest(column, "norm").pvalue for column in z.T) > 1e-5
    assert np.abs(np.corrcoef(z.T) - np.eye(z.shape[1])).max() < 5 / np.sqrt(6000)


@pytest.mark.parametrize("ends", [(0.0, 1.0), (0.0, 0.37), (0.25, 0.9), (0.613, 0.957)])
def test_coefficients_are_integrals_over_the_finest_points(ends):
    """I^n = int P_n dW by sums over the cells of the grid; what a sum misses has a known width."""
    order, depth = 8, 10
    path = BrownianPath(Basis(order), 0.0, 1.0, (300,), 9, depth=depth, dtype=torch.float64)
    first, last = (round(path.snap(t) * 2**depth) for t in ends)
    cells = np.arange(first, last + 1) / 2**depth
    steps = zip(cells, cells[1:], strict=False)
    changes = torch.stack([path.increment(*step).increment for step in steps]).numpy()
    domain = [cells[0], cells[-1]]
    for n in range(order):
        kernel = np.polynomial.legendre.Legendre.basis(n, domain=domain)
        means = np.diff(kernel.integ()(cells)) * 2**depth
        squares = np.diff((kernel * kernel).integ()(cells)) * 2**depth
        width = np.sqrt(np.maximum(squares - means**2, 0).sum() / 2**depth)
        found = path.increment(*ends).coefficients[:, n].numpy()
        error = np.abs(found - means @ changes).max()
        assert error < 5 * width + 1e-12
        assert width < 0.05 * np.sqrt((cells[-1] - cells[0]) / (2 * n + 1))


def test_increments_live_where_they_are_asked_for():
    """The same numbers on an accelerator; without one, shapes on a device that is not the CPU."""
    device = "cuda" if torch.cuda.is_available() else "meta"
    here, there = make(dtype=torch.float32), make(dtype=torch.float32, device=device)
    pairs = []
    for path in (here, there):
        left, right = path.increment(0.5, 2.0), path.increment(2.0, 7.3)
        whole = join(left, right)
        pairs.append((whole.features, whole.whitened(), whitened_by_end(left)))
    for one, other in zip(*pairs, strict=True):
        assert other.device.type == device and other.dtype == one.dtype
        assert other.shape == one.shape
        if device == "cuda":
            assert (other.cpu() - one).abs().max() < 1e-4 * one.abs().max()


def test_length_of_a_step_is_that_of_the_snapped_times():
    path = make()
    step = path.increment(1.2345, 2.3456)
    assert float(step.h) == pytest.approx(path.snap(2.3456) - path.snap(1.2345), abs=1e-12)
    assert abs(path.snap(1.2345) - 1.2345) <= 8.5 / 2**13
    assert path.snap(9.0) == 9.0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make().increment(2.0, 2.0), "t must come after s"),
        (lambda: make().increment(3.0, 2.0), "t must come after s"),
        (lambda: make().increment(0.0, 2.0), "outside the path"),
        (lambda: make().increment(1.0, float("nan")), "outside the path"),
        (lambda: make().increment(torch.ones(3), 2.0), "one step at a time"),
        (lambda: make(depth=-1), "depth is -1"),
        (lambda: make(depth=2.5), "depth is 2.5"),
        (lambda: BrownianPath(BASIS, 1.0, 1.0, (2,), 0), "t0 < t1"),
        (lambda: BrownianPath(BASIS, 0.0, 1.0, (0, 3), 0), "shape is"),
    ],
)
def test_errors_say_what_to_do(call, words):
    with pytest.raises(MolflowError, match=words):
        call()
