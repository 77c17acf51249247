"""Learned and self-made weights of a batch of residuals."""

import pytest
import torch

from molflow.objectives.weighting import self_weighted, weighted


def test_weighted_is_least_at_the_log_of_the_mean():
    residual = torch.tensor([0.5, 1.5, 4.0]).double()
    optimum = residual.mean().log()

    def loss(u):
        return weighted(residual, u.expand(3))

    assert float(torch.func.grad(loss)(optimum)) == pytest.approx(0.0, abs=1e-14)
    assert float(loss(optimum)) == pytest.approx(1.0 + float(optimum), rel=1e-14)
    assert loss(optimum - 0.1) > loss(optimum) < loss(optimum + 0.1)


def test_weighted_with_one_variance_each_is_least_at_each_log():
    residual = torch.tensor([0.01, 1.0, 50.0]).double()
    slope = torch.func.grad(lambda u: weighted(residual, u))(residual.log())
    assert slope.abs().max() < 1e-14
    # There every residual pulls at the network alike: d loss / d log r = 1/3 for each.
    pull = torch.func.grad(lambda r: weighted(r, residual.log()))(residual) * residual
    assert pull.tolist() == pytest.approx([1 / 3] * 3, rel=1e-12)


def test_self_weighted_gives_every_residual_the_same_pull():
    residual = torch.tensor([0.1, 1.0, 50.0]).double()
    pull = torch.func.grad(lambda r: self_weighted(r, floor=1e-9))(residual) * residual
    assert pull.tolist() == pytest.approx([1 / 3] * 3, rel=1e-6)
    # The floor keeps a residual of nothing from pulling.
    assert float(self_weighted(torch.zeros(4))) == 0.0
