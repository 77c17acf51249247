"""What is impossible is refused with a sentence, in the maps and in the objectives."""

import pytest
import torch
from linear_maps import ExactMap, ends, increments, nonlinear

from molflow.brownian.basis import Basis
from molflow.brownian.chen import join
from molflow.brownian.increment import Increment, sample_increment
from molflow.errors import MolflowError
from molflow.flow_map.frozen import FrozenFlowMap
from molflow.objectives.eulerian import eulerian_residual, mean_flow_residual
from molflow.objectives.lagrangian import lagrangian_residual
from molflow.objectives.matching import (
    direct_residual,
    euler_matching_residual,
    matching_residual,
)
from molflow.objectives.semigroup import semigroup_residual
from molflow.sde.matrix_ornstein_uhlenbeck import MatrixOrnsteinUhlenbeck

MAP = ExactMap(0.9)
S, U, T = ends()
LEFT, RIGHT, X = increments(MAP, S, U, T)
WHOLE = join(LEFT, RIGHT)


def lagrangian(s, t, x, increment, n):
    return lagrangian_residual(MAP, nonlinear, s, t, x, increment)


def eulerian(s, t, x, increment, n):
    return eulerian_residual(MAP, s, t, x, n, increment)


def mean_flow(s, t, x, increment, n):
    return mean_flow_residual(MAP, s, t, x, n, increment)


def direct(s, t, x, increment, n):
    return direct_residual(MAP, s, t, x, increment, n)


def euler_matching(s, t, x, increment, n):
    return euler_matching_residual(MAP, s, t, x, increment, n)


OBJECTIVES = [lagrangian, eulerian, mean_flow, direct, euler_matching]


def of_length(h):
    return sample_increment(MAP.basis, h, X.shape, torch.Generator().manual_seed(0), X.dtype)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objectives_refuse_steps_that_are_none(objective):
    assert objective(S, T, X, WHOLE, X).shape == S.shape
    some = T.clone()
    some[3] = S[3]
    with pytest.raises(MolflowError, match="shortest step has length 0: s must come before t"):
        objective(S, some, X, of_length(some - S), X)
    with pytest.raises(MolflowError, match="shortest step has length -"):
        objective(T, S, X, WHOLE, X)
    with pytest.raises(MolflowError, match="differs from t - s by 0.01"):
        objective(S, T, X, of_length(T - S + 0.01), X)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objectives_refuse_shapes_that_would_broadcast(objective):
    with pytest.raises(MolflowError, match=r"s has shape \(16, 1\)"):
        objective(S[:, None], T[:, None], X, WHOLE, X)
    with pytest.raises(MolflowError, match=r"has shape \(16, 3\): .* the state, \(16, 1\)"):
        objective(S, T, X[:, :1], WHOLE, X[:, :1])
    other = Increment(Basis(2), WHOLE.h, WHOLE.features[..., :2])
    with pytest.raises(MolflowError, match="but the map takes Basis"):
        objective(S, T, X, other, X)
    if objective is not lagrangian:
        with pytest.raises(MolflowError, match=r"has shape \(16, 1\): give the shape"):
            objective(S, T, X, WHOLE, X[:, :1])


def test_the_semigroup_refuses_a_middle_outside_and_matching_a_sample_of_another_shape():
    with pytest.raises(MolflowError, match="s must come before t"):
        semigroup_residual(MAP, MAP, S, T, U, X, WHOLE, of_length(U - T + 2.0))
    with pytest.raises(MolflowError, match="differs from t - s"):
        semigroup_residual(MAP, MAP, S, U, T, X, RIGHT, LEFT)
    with pytest.raises(MolflowError, match="The target has shape"):
        matching_residual(MAP, S, X, X[:, :1])
    with pytest.raises(MolflowError, match="s has shape"):
        matching_residual(MAP, S[:3], X, X)


def test_a_map_refuses_another_basis_or_shape_and_takes_a_step_of_no_length():
    assert torch.equal(MAP(S, S, X, of_length(0.0 * S)), X)
    with pytest.raises(MolflowError, match="but the map takes"):
        MAP(S, T, X, Increment(Basis(2), WHOLE.h, WHOLE.features[..., :2]))
    with pytest.raises(MolflowError, match="The increment of the path has shape"):
        MAP(S, T, X[:, :1], WHOLE)
    with pytest.raises(MolflowError, match="t has shape|and t"):
        MAP(S, T[:5], X, WHOLE)


def test_equations_with_matrices_are_walked_but_not_taught_along_the_path():
    pull = torch.tensor([[1.0, 0.3], [0.1, 2.0]]).double()
    sde = MatrixOrnsteinUhlenbeck(pull, torch.ones(2, 1).double(), torch.zeros(2).double())
    flow_map = FrozenFlowMap(sde.nonlinear, sde, sde.basis(2))
    x, shape = X[:, :2], (len(X), 1)  # one Brownian path for two components
    increment = sample_increment(flow_map.basis, T - S, shape, torch.Generator(), X.dtype)
    assert torch.allclose(flow_map(S, T, x, increment), sde.exact(S, T, x, increment))
    with pytest.raises(MolflowError, match="MatrixOrnsteinUhlenbeck are matrices"):
        lagrangian_residual(flow_map, sde.nonlinear, S, T, x, increment)
