import pytest
import torch
from toy_maps import GRAPH, SDE, gaussian_map, half_denoiser_map, random_map, state

from molflow.brownian.chen import join, join_matrix
from molflow.brownian.increment import Increment
from molflow.objectives.semigroup import composed_mean, semigroup_residual

S = torch.tensor([0.0, 3.0, 7.0]).double()
U = torch.tensor([4.0, 3.2, 7.3]).double()  # halves of unequal length
T = torch.tensor([8.5, 3.5, 8.4]).double()


def halves(flow_map, seed=1):
    x, left = state(3, GRAPH.n_atoms, flow_map.basis.size, seed)
    _, right = state(3, GRAPH.n_atoms, flow_map.basis.size, seed + 1)
    x = torch.sqrt(1.0 + SDE.sigma(S) ** 2).reshape(-1, 1, 1) * x
    return (
        x,
        Increment.from_whitened(flow_map.basis, U - S, left),
        Increment.from_whitened(flow_map.basis, T - U, right),
    )


def test_composed_denoiser_is_two_steps_applied():
    teacher = random_map().double()
    x, left, right = halves(teacher)
    composed = composed_mean(teacher, teacher, S, U, T, x, left, right)
    in_one = SDE.apply(S, T, x, composed, join(left, right))
    in_two = teacher(U, T, teacher(S, U, x, left), right)
    assert (in_one - in_two).abs().max() < 1e-10
    # and it matters which half comes first
    swapped = composed_mean(teacher, teacher, S, U, T, x, right, left)
    assert (swapped - composed).abs().max() > 1e-3


def test_residual_of_an_exact_map_vanishes_and_of_a_perturbed_one_does_not():
    exact = half_denoiser_map()
    x, left, right = halves(exact)
    assert semigroup_residual(exact, exact, S, U, T, x, left, right).abs().max() < 1e-10
    perturbed = half_denoiser_map(perturbation=0.03)
    residual = semigroup_residual(perturbed, exact, S, U, T, x, left, right)
    mean = exact.mean(S, T, x, join(left, right).whitened())
    expected = 0.03**2 * mean.square().mean((1, 2)) * (1 + SDE.sigma(S) ** 2) / SDE.sigma(S) ** 2
    assert torch.allclose(residual, expected, rtol=1e-9, atol=0.0)
    # A map that is wrong in itself does not escape by being its own teacher.
    own = semigroup_residual(perturbed, perturbed, S, U, T, x, left, right)
    assert (own > 1e-3 * expected).all()


@pytest.mark.parametrize("order", [1, 2, 4])
def test_the_minimiser_is_the_conditional_mean_given_the_features(order):
    """The tower property, coefficient by coefficient.

    For Gaussian data the exact conditional mean of D over a step is linear in the whitened
    features. What two such steps give is linear in the features of both halves; its conditional
    mean given the joined ones is its orthogonal projection on the rows of the joining matrix.
    """
    flow_map = gaussian_map(0.5, order)
    size = flow_map.basis.size
    for s, u, t in ((0.0, 4.0, 8.5), (3.0, 3.4, 4.0), (5.0, 7.0, 8.0)):

        def respond(function, count):
            # Two atoms that move oppositely: the smallest centred molecule.
            probes = torch.eye(count, dtype=torch.float64).reshape(count, 1, 1, count)
            probes = probes * torch.tensor([1.0, -1.0]).double().reshape(1, 2, 1, 1)
            with torch.no_grad():
                return function(probes.expand(count, 2, 3, count))[:, 0, 0]

        def times(count, s=s, u=u, t=t):
            return (torch.full((count,), value, dtype=torch.float64) for value in (s, u, t))

        def once(z):
            a, _, c = times(len(z))
            return flow_map.mean(a, c, torch.zeros_like(z[..., 0]), z)

        def twice(z):
            a, b, c = times(len(z))
            left = Increment.from_whitened(flow_map.basis, b - a, z[..., :size])
            right = Increment.from_whitened(flow_map.basis, c - b, z[..., size:])
            x = torch.zeros_like(z[..., 0])
            return composed_mean(flow_map, flow_map, a, b, c, x, left, right)

        single, double = respond(once, size), respond(twice, 2 * size)
        lengths = (torch.tensor(h, dtype=torch.float64) for h in (u - s, t - u))
        matrix = join_matrix(flow_map.basis, *lengths)
        assert single.abs().max() > 1e-3
        assert (matrix @ double - single).abs().max() < 1e-9
        # What the joined features do not tell is there, and is what the loss cannot remove.
        left_over = double.square().sum() - single.square().sum()
        assert left_over > 0


def test_no_gradient_reaches_the_teacher():
    student, teacher = random_map(), random_map(seed=1)
    student, teacher = student.double(), teacher.double()
    x, left, right = halves(student)
    semigroup_residual(student, teacher, S, U, T, x, left, right).sum().backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert float(student.network.last.grad.abs().max()) > 0


def test_a_map_that_is_its_own_teacher_learns_from_the_long_step_alone():
    flow_map = random_map().double()
    x, left, right = halves(flow_map)
    semigroup_residual(flow_map, flow_map, S, U, T, x, left, right).sum().backward()
    own = flow_map.network.last.grad.clone()
    flow_map.zero_grad()
    copy = random_map().double()
    semigroup_residual(flow_map, copy, S, U, T, x, left, right).sum().backward()
    assert torch.equal(own, flow_map.network.last.grad)
