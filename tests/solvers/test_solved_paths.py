"""Paths that are solved: their ends, what drove them, and steps drawn from them."""

import dataclasses

import numpy as np
import pytest
import torch

from molflow.brownian.basis import Basis
from molflow.errors import MolflowError
from molflow.sde.ornstein_uhlenbeck import OrnsteinUhlenbeck
from molflow.solvers.euler_maruyama import euler_maruyama_step
from molflow.solvers.exponential_euler import exponential_euler_step
from molflow.solvers.solved_paths import Problem, SolvedSteps, solve

SDE = OrnsteinUhlenbeck(rate=1.3, diffusion=0.7, mean=0.4)
PROBLEM = Problem(
    sde=SDE,
    nonlinear=lambda t, x: torch.full_like(x, SDE.mean),
    start=lambda count, generator: torch.randn(count, 1, generator=generator),
    # Points denser at the start, twice as many between any two.
    grid=lambda steps: (2.0 * np.linspace(0.0, 1.0, steps + 1) ** 2).tolist(),
    scheme=exponential_euler_step,
    fine=64,
    points=16,
)
#: Solved without the feature that the exact martingale needs.
EULER = dataclasses.replace(PROBLEM, scheme=euler_maruyama_step)


def test_states_are_the_exact_solution_for_the_increments_of_every_level():
    # The scheme is exact for this equation, and so is one step of any length on the same path.
    basis = SDE.basis(3)
    paths = solve(PROBLEM, 200, basis, torch.Generator().manual_seed(0))
    assert PROBLEM.levels == len(paths.levels) == 5
    for level in range(5):
        ends, states = paths.times[:: 2**level], paths.states[:: 2**level]
        assert len(states) == 16 // 2**level + 1
        for k, increment in enumerate(paths.path(level, basis)):
            exact = SDE.exact(float(ends[k]), float(ends[k + 1]), states[k], increment)
            assert (exact - states[k + 1]).abs().max() < 2e-5
    assert float(paths.times[-1]) == 2.0 and float(paths.times[8]) == 0.5


def test_steps_are_of_the_paths_and_as_many_of_each_level_as_asked():
    basis = SDE.basis(2)
    steps = SolvedSteps(PROBLEM, basis, seed=1, paths=300)
    s, t, x, increment, end, level = steps.draw({4: 50, 0: 30})
    assert level.tolist() == [4] * 50 + [0] * 30
    assert (s[:50] == 0.0).all() and (t[:50] == 2.0).all() and (t > s).all()
    lift = torch.exp(-1.3 * (t - s))[:, None]
    noise = SDE.martingale(s, t, increment)
    assert (lift * (x - 0.4) + 0.4 + noise - end).abs().max() < 2e-5


def test_fewer_coefficients_are_those_of_the_same_paths():
    few, many = (
        solve(EULER, 64, Basis(order), torch.Generator().manual_seed(2)) for order in (1, 2)
    )
    assert torch.equal(few.states, many.states)
    for one, other in zip(few.levels, many.levels, strict=True):
        assert one.shape[-1] == 1 and torch.equal(one[..., 0], other[..., 0])
    path = many.path(1, Basis(1))
    assert torch.equal(path[3].whitened(), few.path(1, Basis(1))[3].whitened())


def test_paths_are_drawn_anew_and_the_oldest_leave():
    steps = SolvedSteps(EULER, Basis(2), seed=3, refresh=2, pools=2, paths=16)
    seen = [steps.pool() for _ in range(40)]
    assert seen[0] is seen[1]
    # One set more every second time, and of those that there are only the last two.
    made = list(dict.fromkeys(map(id, seen)))
    assert 10 < len(made) <= 20 and id(seen[0]) not in map(id, seen[4:])
    again = SolvedSteps(EULER, Basis(2), seed=3, refresh=2, pools=2, paths=16)
    assert torch.equal(again.pool().states, seen[0].states)


@pytest.mark.parametrize(("fine", "points"), [(60, 16), (48, 16), (64, 12), (8, 16), (16, 0)])
def test_numbers_that_do_not_halve_are_a_sentence(fine, points):
    with pytest.raises(MolflowError, match=f"points is {points} and fine is {fine}"):
        dataclasses.replace(PROBLEM, fine=fine, points=points)
