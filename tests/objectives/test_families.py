"""Published objectives by name, each on the exact map of a linear equation."""

import pytest
import torch
from linear_maps import ExactMap, ends, increments, nonlinear

from molflow.errors import MolflowError
from molflow.objectives.families import FAMILIES, Family

LAST = 4.0


def residual_of(family, flow_map, seed=0):
    s, _, t = ends(64, seed)
    generator = torch.Generator().manual_seed(seed)
    u, t = family.times(s, t, LAST, generator)
    left, right, x = increments(flow_map, s, u, t)
    return family.residual(flow_map, flow_map, nonlinear, s, u, t, x, left, right)


@pytest.mark.parametrize("diffusion", [0.9, 0.0], ids=["stochastic", "deterministic"])
@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"consistency_trajectory"}))
def test_zero_at_the_exact_map_and_nowhere_else(name, diffusion):
    assert float(residual_of(FAMILIES[name], ExactMap(diffusion)).max()) <= 1e-10
    assert float(residual_of(FAMILIES[name], ExactMap(diffusion, error=0.01)).mean()) > 1e-6


def test_a_solver_step_in_front_brings_its_own_error():
    """What the exponential Euler step misses is weighed by its share of the whole step."""
    family = FAMILIES["consistency_trajectory"]
    exact = float(residual_of(family, ExactMap(0.9)).mean())
    halved = float(
        residual_of(Family("semigroup", middle="half", opening="given"), ExactMap(0.9)).mean()
    )
    assert 0 < exact < 1e-3 * halved
    assert float(residual_of(family, ExactMap(0.9, error=0.1)).mean()) > 10 * exact


def test_times_follow_the_family():
    s, _, t = ends(1000)
    generator = torch.Generator().manual_seed(0)
    u, kept = Family("semigroup").times(s, t, LAST, generator)
    assert torch.equal(kept, t) and torch.allclose(u, 0.5 * (s + t))
    u, kept = Family("semigroup", middle="any", end="last").times(s, t, LAST, generator)
    assert bool((kept == LAST).all()) and bool(((s < u) & (u < kept)).all())
    share = ((u - s) / (kept - s)).sort().values
    assert float((share - torch.linspace(0, 1, 1000)).abs().max()) < 0.06
    u, kept = Family("semigroup", middle="near").times(s, t, LAST, generator)
    assert torch.allclose((u - s) / (kept - s), torch.tensor(1 / 64).double())


def test_errors_say_what_to_do():
    s, u, t = ends()
    flow_map = ExactMap(0.9)
    left, right, x = increments(flow_map, s, u, t)
    with pytest.raises(MolflowError, match="give `nonlinear`"):
        FAMILIES["mean_flow"].residual(flow_map, flow_map, None, s, u, t, x, left, right)
    with pytest.raises(MolflowError, match="before its t"):
        FAMILIES["consistency_model"].times(s, t, 0.5, torch.Generator())
