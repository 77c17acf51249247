import pytest
import torch

from molflow.maps.denoiser.stiff_norm import StiffNorm
from molflow.objectives.norm import mean_square
from molflow.sde.reverse_diffusion import ReverseDiffusion

PAIRS = torch.tensor([[0, 1], [1, 2]])
SDE = ReverseDiffusion()
CLEAN = SDE.time(torch.tensor([1e-9]).double())


def positions():
    return torch.tensor([[[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [2.0, 3.0, 0.0]]]).double()


def test_an_error_along_a_bond_counts_more_and_across_it_does_not():
    norm = StiffNorm(SDE, PAIRS, 4.0, 0.1)
    along, across = torch.zeros(2, 1, 3, 3).double()
    along[0, 0, 0] = 0.1  # atom 0 moves along the bond 0-1
    across[0, 0, 2] = 0.1  # atom 0 moves across it
    plain = 0.1**2 / 9
    assert float(mean_square(along, positions(), CLEAN)) == pytest.approx(plain, rel=1e-12)
    assert float(norm(across, positions(), CLEAN)) == pytest.approx(plain, rel=1e-5)
    assert float(norm(along, positions(), CLEAN)) == pytest.approx(plain * 5.0, rel=1e-5)


def test_the_extra_weight_fades_with_the_noise():
    error = torch.zeros(2, 3, 3).double()
    error[:, 0, 0] = 0.1
    s = SDE.time(torch.tensor([0.1, 0.3]).double())
    found = StiffNorm(SDE, PAIRS, 4.0, 0.1)(error, positions().expand(2, 3, 3), s)
    plain = 0.1**2 / 9
    assert found.tolist() == pytest.approx([plain * 3.0, plain * 1.4], rel=1e-5)


def test_turning_the_molecule_and_the_error_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    error = torch.randn(1, 3, 3, generator=generator).double()
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator).double())
    norm = StiffNorm(SDE, PAIRS, 4.0, 0.1)
    turned = norm(error @ rotation.T, positions() @ rotation.T, CLEAN)
    assert float(turned) == pytest.approx(float(norm(error, positions(), CLEAN)), rel=1e-12)


def test_the_direction_passes_no_gradient():
    predicted = positions().requires_grad_()
    error = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(1)).double()
    error.requires_grad_()
    StiffNorm(SDE, PAIRS, 4.0, 0.1)(error, predicted, CLEAN).sum().backward()
    assert predicted.grad is None and error.grad.abs().min() > 0


def test_the_minimiser_stays_the_conditional_mean():
    """Any positive weight that depends on the input alone leaves the minimiser where it was."""
    generator = torch.Generator().manual_seed(2)
    targets = torch.randn(200, 3, 3, generator=generator).double() + positions()
    mean = targets.mean(0, keepdim=True).clone().requires_grad_()
    norm = StiffNorm(SDE, PAIRS, 4.0, 0.1)
    # The directions are those of one prediction, the same for every target.
    loss = norm(mean - targets, mean.detach().expand(200, 3, 3), CLEAN).mean()
    loss.backward()
    assert mean.grad.abs().max() < 1e-12
