"""The clock on which jumps are equally long, against quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from molflow.errors import MolflowError
from molflow.maps.denoiser.clock import StepClock

CLOCK = StepClock(8.5, 3.2, 6.0)


def density(t):
    return 1.0 + 6.0 * math.exp(-0.5 * (t - 3.2) ** 2)


@pytest.mark.parametrize("t", [0.0, 1.0, 3.2, 8.5])
def test_the_position_is_the_integral_of_the_density(t):
    assert float(CLOCK.position(t)) == pytest.approx(quad(density, 0.0, t)[0], abs=1e-9)


def test_time_inverts_position():
    times = torch.linspace(0.0, 8.5, 101, dtype=torch.float64)
    assert (CLOCK.time(CLOCK.position(times)) - times).abs().max() < 1e-12
    assert CLOCK.length == pytest.approx(quad(density, 0.0, 8.5)[0], abs=1e-9)


def test_the_jumps_of_a_grid_carry_equal_shares():
    grid = CLOCK.grid(7)
    assert grid[0] == 0.0 and grid[-1] == 8.5 and len(grid) == 8
    shares = [quad(density, a, b)[0] for a, b in zip(grid[:-1], grid[1:], strict=True)]
    assert shares == pytest.approx([CLOCK.length / 7] * 7, rel=1e-9)
    # and the shortest jump is the one in the middle of the crowd
    assert grid[int(np.argmin(np.diff(grid)))] < 3.2 < grid[int(np.argmin(np.diff(grid))) + 1]


def test_finer_grids_contain_coarser_ones():
    assert CLOCK.grid(4)[1:4:2] == pytest.approx([CLOCK.grid(8)[2], CLOCK.grid(8)[6]], abs=1e-12)


def test_without_weight_the_jumps_are_equal():
    assert StepClock(3.0).grid(4) == pytest.approx([0.0, 0.75, 1.5, 2.25, 3.0], abs=1e-12)


def test_impossible_clocks_and_grids_are_refused():
    with pytest.raises(MolflowError, match="steps is 0: a sample needs at least 1 step"):
        CLOCK.grid(0)
    for duration, weight in ((0.0, 1.0), (math.inf, 1.0), (1.0, -0.1), (1.0, math.nan)):
        with pytest.raises(MolflowError, match="is impossible"):
            StepClock(duration, 0.5, weight)
