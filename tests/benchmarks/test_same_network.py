"""The solvers that a map is compared with: law, and how often they ask the network."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from molflow.maps.denoiser.clock import StepClock
from molflow.sde.reverse_diffusion import ReverseDiffusion

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
same_network = importlib.import_module("same_network")

WIDTH, ATOMS = 0.7, 6


class GaussianMap(SimpleNamespace):
    """The denoiser of normal data of one width, which counts its calls."""

    def mean(self, s, t, x, z):
        assert torch.equal(s, t) and not z.any()
        self.calls.append(float(s[0]))
        share = WIDTH**2 / (WIDTH**2 + self.sde.sigma(s) ** 2)
        return share[:, None, None] * x


def gaussian(eta):
    sde = ReverseDiffusion(10.0, 0.002, eta)
    clock = StepClock(sde.duration, 0.5 * sde.duration, 0.0)
    return GaussianMap(sde=sde, basis=sde.basis(3), clock=clock, calls=[])


@pytest.mark.parametrize("eta", [0.25, 1.0])
@pytest.mark.parametrize("name", list(same_network.SOLVERS))
def test_a_solver_comes_to_the_law_of_the_denoiser(name, eta):
    solver, flow_map = same_network.SOLVERS[name], gaussian(eta)
    drawn = same_network.draw_by(solver, flow_map, 1024, 64, 0, ATOMS)
    assert drawn.shape == (1024, ATOMS, 3)
    # Without its mean over atoms: a part 1/6 of the variance is missing.
    wanted = WIDTH * ((ATOMS - 1) / ATOMS) ** 0.5
    assert float(drawn.std()) == pytest.approx(wanted, rel=0.08)


@pytest.mark.parametrize("name", list(same_network.SOLVERS))
@pytest.mark.parametrize("evaluations", [1, 2, 5])
def test_a_solver_asks_as_often_as_it_says(name, evaluations):
    flow_map = gaussian(0.25)
    same_network.draw_by(same_network.SOLVERS[name], flow_map, 64, evaluations, 0, ATOMS)
    assert len(flow_map.calls) == evaluations


def test_heun_is_nearer_the_flow_than_euler_at_equal_cost():
    solvers = same_network.SOLVERS
    ends = {
        name: same_network.draw_by(solvers[name], gaussian(0.25), 64, count, 0, ATOMS)
        for name, count in (
            ("probability_flow_exponential_euler", 64),
            ("probability_flow_heun", 64),
        )
    }
    fine = same_network.draw_by(solvers["probability_flow_heun"], gaussian(0.25), 64, 512, 0, ATOMS)
    errors = {name: float((end - fine).std()) for name, end in ends.items()}
    assert errors["probability_flow_heun"] < 0.5 * errors["probability_flow_exponential_euler"]
