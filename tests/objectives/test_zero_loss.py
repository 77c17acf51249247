"""Every objective vanishes at the exact map of a linear equation, and at no other."""

import pytest
import torch
from linear_maps import RATE, TOTAL, ExactMap, ends, increments, nonlinear

from molflow.brownian.chen import join
from molflow.brownian.derivatives import path_rate_at_start
from molflow.brownian.increment import Increment
from molflow.objectives.along_path import mean_by_end, mean_by_start
from molflow.objectives.eulerian import eulerian_residual, mean_flow_residual
from molflow.objectives.lagrangian import lagrangian_residual
from molflow.objectives.matching import (
    direct_residual,
    euler_matching_residual,
    matching_residual,
)
from molflow.objectives.semigroup import semigroup_residual

S, U, T = ends()


def exact_end(flow_map, x, increment):
    """X_t of dX = (RATE OFFSET - TOTAL X) dt + g dW from the feature of rate TOTAL."""
    decay = torch.exp(-TOTAL * (T - S))[:, None]
    rest = RATE * 0.7 / TOTAL
    return decay * (x - rest) + rest + flow_map.sde.diffusion * increment.exponentials[..., 1]


def matching(flow_map, left, right, x):
    return matching_residual(flow_map, S, x, nonlinear(S, x))


def direct(flow_map, left, right, x):
    whole = join(left, right)
    return direct_residual(flow_map, S, T, x, whole, exact_end(flow_map, x, whole))


def semigroup(flow_map, left, right, x):
    return semigroup_residual(flow_map, flow_map, S, U, T, x, left, right)


def lagrangian(flow_map, left, right, x):
    return lagrangian_residual(flow_map, nonlinear, S, T, x, join(left, right))


def eulerian(flow_map, left, right, x):
    return eulerian_residual(flow_map, S, T, x, nonlinear(S, x), join(left, right))


def mean_flow(flow_map, left, right, x):
    return mean_flow_residual(flow_map, S, T, x, nonlinear(S, x), join(left, right))


OBJECTIVES = [matching, direct, semigroup, lagrangian, eulerian, mean_flow]


@pytest.mark.parametrize("diffusion", [0.9, 0.0], ids=["stochastic", "deterministic"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_zero_at_the_exact_map_and_nowhere_else(objective, diffusion):
    exact, wrong = ExactMap(diffusion), ExactMap(diffusion, error=0.01)
    left, right, x = increments(exact, S, U, T)
    assert float(objective(exact, left, right, x).max()) <= 1e-10
    assert float(objective(wrong, left, right, x).min()) > 1e-8


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_pulls_the_map_back(objective):
    """At an error of either sign the gradient points to the exact map."""
    for error in (-0.1, 0.1):
        flow_map = ExactMap(0.9, error)
        left, right, x = increments(flow_map, S, U, T)
        objective(flow_map, left, right, x).mean().backward()
        assert float(flow_map.error.grad) * error > 0


def test_derivatives_along_the_path_are_finite_differences():
    """Both ends, with the features of the longer or shorter step on the same mean path.

    Moving an end by delta splits off a short piece of the mean path, whose whitened features are
    sqrt(delta) w(end) in the first place and smaller by powers of delta in the others; joining it
    must give what the derivative says.
    """
    flow_map, delta = ExactMap(0.9), 1e-6
    left, right, x = increments(flow_map, S, U, T)
    whole = join(left, right)
    z = whole.whitened()
    mean, slope = mean_by_start(flow_map, S, T, x, nonlinear(S, x), whole)
    assert torch.equal(mean, flow_map.mean(S, T, x, z))
    velocity = flow_map.sde.drift(S, x, nonlinear(S, x))
    velocity = velocity + 0.9 * path_rate_at_start(whole)

    def short(rate, sign):
        piece = torch.zeros_like(z)
        piece[..., 0] = sign * delta**0.5 * rate
        return Increment.from_whitened(whole.basis, torch.tensor(delta).double(), piece)

    rate = path_rate_at_start(whole)
    earlier = join(short(rate, 1.0), whole)
    back = flow_map.mean(S - delta, T, x - delta * velocity, earlier.whitened())
    assert float(((mean - back) / delta - slope).abs().max()) < 1e-4 * float(slope.abs().max())
    _, by_end = mean_by_end(flow_map, S, T, x, whole)
    from molflow.brownian.derivatives import path_rate_at_end

    later = join(whole, short(path_rate_at_end(whole), 1.0))
    ahead = flow_map.mean(S, T + delta, x, later.whitened())
    assert float(((ahead - mean) / delta - by_end).abs().max()) < 1e-4 * float(by_end.abs().max())


def test_euler_matching_inherits_the_bias_of_its_step():
    """The exact map has the error of one Euler-Maruyama step, of second order in X and so of
    first order in n-bar; halving the step halves it."""
    flow_map = ExactMap(0.9)
    errors = []
    for h in (0.02, 0.01, 0.005):
        s = torch.zeros(4000, dtype=torch.float64)
        t = s + h
        increment, _, x = increments(flow_map, s, t, t + 1.0, shape=(1,))
        found = euler_matching_residual(flow_map, s, t, x, increment, nonlinear(s, x))
        # What the noise of the path inside the step adds is of order h^1/2 and has mean zero;
        # the bias is that of the mean over paths, here that of steps without noise.
        quiet = Increment(increment.basis, increment.h, torch.zeros_like(increment.features))
        calm = euler_matching_residual(flow_map, s, t, x, quiet, nonlinear(s, x))
        errors.append((float(found.mean().sqrt()), float(calm.mean().sqrt())))
    noisy = [a[0] / b[0] for a, b in zip(errors[:-1], errors[1:], strict=True)]
    biased = [a[1] / b[1] for a, b in zip(errors[:-1], errors[1:], strict=True)]
    assert noisy == pytest.approx([2**0.5] * 2, rel=0.05)
    assert biased == pytest.approx([2.0] * 2, rel=0.05)
