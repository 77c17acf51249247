"""Adam in the eigenbasis of the gradients' second moments."""

import copy

import pytest
import torch

from molflow.training.soap import Soap

LEFT = torch.diag(torch.tensor([1.0, 0.1, 0.01, 0.003], dtype=torch.float64))
RIGHT = torch.diag(torch.tensor([1.0, 0.05, 0.01], dtype=torch.float64))


def turn(size, seed):
    draws = torch.randn(
        size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return torch.linalg.qr(draws)[0]


def walked(optimiser, left, right, start, steps, noise=None):
    """Return where an optimiser comes on tr(Wᵀ L W R)/2, and the losses on the way."""
    weight = torch.nn.Parameter(start.clone())
    rule, losses = optimiser([weight]), []
    for step in range(steps):
        weight.grad = left @ weight.detach() @ right
        if noise is not None:
            weight.grad += noise[step]
        losses.append(0.5 * float((weight.detach() * (left @ weight.detach() @ right)).sum()))
        rule.step()
    return weight.detach(), losses


def test_for_vectors_it_is_adam():
    start = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    found = []
    for rule in (Soap, torch.optim.Adam):
        weight = torch.nn.Parameter(start.clone())
        optimiser = rule([weight], lr=0.05, betas=(0.9, 0.99))
        for step in range(25):
            weight.grad = weight.detach() ** 3 + 0.1 * (step % 3)
            optimiser.step()
        found.append(weight.detach())
    torch.testing.assert_close(*found, rtol=1e-12, atol=0.0)


def test_a_problem_that_is_turned_has_the_turned_way():
    start, noise = torch.ones(4, 3, dtype=torch.float64), torch.randn(
        40, 4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )  # fmt: skip
    u, v = turn(4, 0), turn(3, 1)

    def of(rule):
        plain, _ = walked(rule, LEFT, RIGHT, start, 40, noise)
        turned, _ = walked(
            rule, u @ LEFT @ u.T, v @ RIGHT @ v.T, u @ start @ v.T, 40, u @ noise @ v.T
        )
        return float((turned - u @ plain @ v.T).abs().max())

    assert of(lambda p: Soap(p, lr=0.05)) < 1e-9
    assert of(lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.9, 0.99))) > 0.05


def test_a_valley_that_lies_askew_is_walked_faster_than_by_adam():
    u, v, start = turn(4, 0), turn(3, 1), torch.ones(4, 3, dtype=torch.float64)
    valley = u @ LEFT @ u.T, v @ RIGHT @ v.T
    losses = {
        rule: walked(lambda p, rule=rule: rule(p, lr=0.02, betas=(0.9, 0.99)), *valley, start, 120)
        for rule in (Soap, torch.optim.Adam)
    }
    soap, adam = (losses[rule][1][-1] for rule in (Soap, torch.optim.Adam))
    assert soap < 0.3 * adam


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4), (5,), (1, 6), ()])
def test_it_goes_on_from_its_state(shape):
    generator = torch.Generator().manual_seed(3)
    gradients = torch.randn(24, *shape, generator=generator, dtype=torch.float64)

    def moved(weight, optimiser, rows):
        for row in rows:
            weight.grad = row + 0.1 * weight.detach()
            optimiser.step()

    whole = torch.nn.Parameter(torch.ones(shape, dtype=torch.float64))
    moved(whole, Soap([whole], lr=0.1), gradients)
    first = torch.nn.Parameter(torch.ones(shape, dtype=torch.float64))
    before = Soap([first], lr=0.1)
    moved(first, before, gradients[:11])
    second = torch.nn.Parameter(first.detach().clone())
    after = Soap([second], lr=0.1)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    moved(second, after, gradients[11:])
    assert torch.equal(whole.detach(), second.detach())
    assert bool((whole.detach() != 1.0).all())


def test_gradients_whose_squares_are_denormal_in_single_precision():
    generator = torch.Generator().manual_seed(4)
    weight = torch.nn.Parameter(torch.ones(8, 6))
    optimiser = Soap([weight], lr=0.01)
    sizes = torch.logspace(-24, -3, 8)[:, None]
    for _ in range(30):
        weight.grad = sizes * torch.randn(8, 6, generator=generator)
        optimiser.step()
    assert bool(weight.isfinite().all()) and 0.01 < float((weight - 1.0).abs().max()) < 0.3
