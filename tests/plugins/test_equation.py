"""An equation of a file of its own: solved along a path, to the right order and the right law."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

from molflow.brownian import BrownianPath
from molflow.solvers import exponential_euler_step, integrate, trajectory, uniform_times
from molflow.testing import assert_strong_order

sys.path.append(str(Path(__file__).parent / "package"))
from plug_equation import Corrugated  # noqa: E402

# Only for the import: what the package offers would be there for all other tests.
sys.path.pop()


def walker(sde):
    return partial(exponential_euler_step, sde, sde.nonlinear)


def test_the_solver_follows_a_path_to_first_order():
    sde = Corrugated()
    path = BrownianPath(sde.basis(1), 0.0, 2.0, (256, 1), seed=1, depth=12, dtype=torch.float64)
    start = torch.linspace(-3.0, 3.0, 256, dtype=torch.float64)[:, None]
    exact = integrate(walker(sde), start, path, uniform_times(path, 4096))
    assert_strong_order(walker(sde), start, path, [16, 32, 64, 128], exact, expected=1.0)


def test_the_gain_by_quadrature_is_that_of_a_spring():
    sde = Corrugated(spring=0.7)
    s, t = torch.tensor(0.3), torch.tensor([0.4, 3.0])
    expected = (1.0 - torch.exp(-0.7 * (t - s).double())) / 0.7
    assert torch.allclose(sde.gain(s, t), expected, rtol=1e-6)


def test_it_settles_in_boltzmanns_law():
    sde = Corrugated()
    path = BrownianPath(sde.basis(1), 0.0, 16.0, (4000, 1), seed=2, depth=10, dtype=torch.float64)
    start, times = torch.zeros(4000, 1, dtype=torch.float64), uniform_times(path, 1024)
    states = list(trajectory(walker(sde), start, path, times))
    found = float(torch.stack(states[256::32]).square().mean())
    x = np.linspace(-12.0, 12.0, 20001)
    energy = 0.5 * sde.spring * x**2 - sde.height * np.cos(x)
    density = np.exp(-2.0 * energy / sde.diffusion**2)
    expected = float((density * x**2).sum() / density.sum())
    assert abs(found / expected - 1.0) < 0.03
