"""Published objectives by name, each on the exact map of a linear equation."""

import dataclasses

import pytest
import torch
from linear_maps import ExactMap, MapFromEnd, ends, increments, nonlinear

from molflow.errors import MolflowError
from molflow.flow_map.frozen import FrozenFlowMap
from molflow.objectives.families import FAMILIES, Family
from molflow.sde.ornstein_uhlenbeck import OrnsteinUhlenbeck

LAST = 4.0


def residual_of(family, flow_map, n=nonlinear, teacher=None, seed=0):
    s, _, t = ends(64, seed)
    generator = torch.Generator().manual_seed(seed)
    u, t = family.times(s, t, LAST, torch.rand(s.shape, generator=generator, dtype=s.dtype))
    left, right, x = increments(flow_map, s, u, t)
    given = n if family.teacher == "none" else None
    if family.teacher in ("average", "frozen"):
        teacher = teacher or flow_map
    return family.residual(flow_map, teacher, given, s, u, t, x, left, right)


@pytest.mark.parametrize("diffusion", [0.9, 0.0], ids=["stochastic", "deterministic"])
@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"consistency_trajectory"}))
def test_zero_at_the_exact_map_and_nowhere_else(name, diffusion):
    assert float(residual_of(FAMILIES[name], ExactMap(diffusion)).max()) <= 1e-10
    assert float(residual_of(FAMILIES[name], ExactMap(diffusion, error=0.01)).mean()) > 1e-6


@pytest.mark.parametrize("diffusion", [0.8, 0.0], ids=["stochastic", "deterministic"])
@pytest.mark.parametrize("name", FAMILIES)
def test_zero_where_the_solver_is_exact_too(name, diffusion):
    """Ornstein-Uhlenbeck, whose n is a constant: an exponential Euler step has no error."""
    sde = OrnsteinUhlenbeck(1.7, diffusion, 0.3)

    def map_with(error):
        return MapFromEnd(sde, sde.basis(3), sde.exact, sde.nonlinear, error)

    exact, family = map_with(0.0), FAMILIES[name]
    solver = FrozenFlowMap(sde.nonlinear, sde, sde.basis(3))
    for teacher in (exact, solver) if teaches(family) else (None,):
        assert float(residual_of(family, exact, sde.nonlinear, teacher).max()) <= 1e-10
        assert float(residual_of(family, map_with(0.01), sde.nonlinear, teacher).mean()) > 1e-6


def teaches(family):
    return family.teacher in ("average", "frozen")


def test_a_solver_step_in_front_brings_its_own_error():
    """What the exponential Euler step misses is weighed by its share of the whole step."""
    family = FAMILIES["consistency_trajectory"]
    exact = float(residual_of(family, ExactMap(0.9)).mean())
    halved = float(residual_of(dataclasses.replace(family, middle="half"), ExactMap(0.9)).mean())
    assert 0 < exact < 1e-3 * halved
    assert float(residual_of(family, ExactMap(0.9, error=0.1)).mean()) > 10 * exact
    # The solver walks the first part only: of its teacher nothing but n at s = t is used.
    frozen = FrozenFlowMap(nonlinear, ExactMap(0.9).sde, ExactMap(0.9).basis)
    solved = float(residual_of(family, ExactMap(0.9), teacher=frozen).mean())
    assert solved == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("name", sorted(name for name in FAMILIES if teaches(FAMILIES[name])))
def test_no_gradient_reaches_the_teacher_and_the_teacher_matters(name):
    student, teacher = ExactMap(0.9), ExactMap(0.9, error=0.1)
    found = residual_of(FAMILIES[name], student, teacher=teacher)
    found.mean().backward()
    assert teacher.error.grad is None and float(student.error.grad) != 0.0
    assert float((found - residual_of(FAMILIES[name], student)).abs().max()) > 1e-6


def test_times_follow_the_family():
    s, _, t = ends(1000)
    share = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=s.dtype)
    u, kept = Family("semigroup", "self").times(s, t, LAST, share)
    assert torch.equal(kept, t) and torch.allclose(u, 0.5 * (s + t))
    anywhere = Family("semigroup", "self", middle="any", end="last")
    u, kept = anywhere.times(s, t, LAST, share)
    assert bool((kept == LAST).all()) and bool(((s < u) & (u < kept)).all())
    found = ((u - s) / (kept - s)).sort().values
    assert float((found - torch.linspace(0, 1, 1000)).abs().max()) < 0.06
    u, kept = Family("semigroup", "self", middle="near").times(s, t, LAST, share)
    assert torch.allclose((u - s) / (kept - s), torch.tensor(1 / 64).double())


def test_errors_say_what_to_do():
    s, u, t = ends()
    flow_map = ExactMap(0.9)
    left, right, x = increments(flow_map, s, u, t)

    def ask(name, teacher, n):
        FAMILIES[name].residual(flow_map, teacher, n, s, u, t, x, left, right)

    with pytest.raises(MolflowError, match="'none': give n.t, X. as `nonlinear`"):
        ask("mean_flow", None, None)
    with pytest.raises(MolflowError, match="'self': leave out `nonlinear`"):
        ask("lsd", None, nonlinear)
    with pytest.raises(MolflowError, match="'frozen': give a flow map as `teacher`"):
        ask("align_your_flow", None, None)
    with pytest.raises(MolflowError, match="'self': leave out `teacher`"):
        ask("psd", flow_map, None)
    with pytest.raises(MolflowError, match="before its t"):
        FAMILIES["consistency_model"].times(s, t, 0.5, torch.rand(len(s)))
