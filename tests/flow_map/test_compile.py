"""The whole loss is compiled, as it would be for training.

Traced, differentiated and run operation by operation: what the last stage, the writing of machine
code, adds is PyTorch's own affair and takes minutes.
"""

import torch
from toy_maps import GRAPH, SDE, SIZES, random_map, state

from molflow.brownian.increment import Increment
from molflow.objectives.matching import matching_residual
from molflow.objectives.semigroup import semigroup_residual


def test_compiled_loss_equals_eager():
    sizes = {**SIZES, "layers": 1}
    flow_map, teacher = random_map(sizes=sizes), random_map(sizes=sizes, seed=1)
    x, _ = state(2, GRAPH.n_atoms, 1, 2, torch.float32)
    _, left = state(2, GRAPH.n_atoms, 4, 3, torch.float32)
    _, right = state(2, GRAPH.n_atoms, 4, 4, torch.float32)
    s, t = torch.tensor([1.0, 5.0]), torch.tensor([4.0, 5.5])

    def loss(s, t, x, left, right):
        u = 0.5 * (s + t)
        first = Increment.from_whitened(flow_map.basis, u - s, left)
        second = Increment.from_whitened(flow_map.basis, t - u, right)
        residual = semigroup_residual(flow_map, teacher, s, u, t, x, first, second)
        noisy = x + SDE.sigma(s).reshape(-1, 1, 1) * left[..., 0]
        return (residual + matching_residual(flow_map, s, noisy, x)).mean()

    parameters = list(flow_map.parameters())
    results = []
    for function in (loss, torch.compile(loss, backend="aot_eager")):
        value = function(s, t, x, left, right)
        results.append((value.detach(), *torch.autograd.grad(value, parameters)))
    assert results[0][0] > 0.01
    for eager, compiled in zip(*results, strict=True):
        assert torch.allclose(eager, compiled, rtol=1e-3, atol=1e-5 * (1 + eager.abs().max()))
