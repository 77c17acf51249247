"""Forces of a formula: against autograd, differences, numpy, symmetries."""

import math

import numpy as np
import pytest
import torch

from molflow.errors import MolflowError
from molflow.valence.force import ValenceForce
from molflow.valence.formula import ValenceFormula

FORMULA = ValenceFormula(
    bonds=[(0, 1, 0.11, 3.0, 2e5, -2e6, 1e7), (1, 2, 0.15, -2.0, 1e5, -1e6, 6e6),
           (2, 3, 0.14, 0.0, 2e5, 0.0, 0.0)],
    angles=[(0, 1, 2, 1.9, 1.0, 200.0, -30.0, 25.0), (1, 2, 3, 2.1, 0.0, 300.0, 10.0, 5.0)],
    straight=[(2, 3, 4, 80.0, 10.0)],
    torsions=[(0, 1, 2, 3, 4.0, -3.0, 2.0, 1.0), (5, 1, 2, 3, 0.5, 6.0, -1.0, 0.2)],
    couplings=[(0, 1, 900.0), (1, 3, 150.0), (3, 4, -20.0)],
)  # fmt: skip


def conformations(count, seed=0):
    """Six atoms: a bent chain of five that ends straight, and one more on its second."""
    start = torch.tensor([
        [0.0, 0.1, 0.0], [0.0, 0.0, 0.0], [0.15, -0.02, 0.0], [0.22, 0.1, 0.03],
        [0.29, 0.225, 0.06], [-0.06, -0.05, 0.08],
    ], dtype=torch.float64)  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 6, 3, generator=generator, dtype=torch.float64)
    return start + 0.01 * noise


def test_forces_are_slopes_of_the_energy():
    force = ValenceForce(FORMULA, 6)
    x = conformations(5).requires_grad_()
    energy, found = force.energy_and_forces(x)
    (slope,) = torch.autograd.grad(energy.sum(), x)
    assert torch.allclose(found, -slope, rtol=1e-9, atol=1e-9 * float(slope.abs().max()))
    x, step = x.detach(), 1e-6
    for atom, axis in ((0, 0), (1, 1), (2, 2), (3, 0), (4, 1), (5, 2)):
        up, down = x.clone(), x.clone()
        up[:, atom, axis] += step
        down[:, atom, axis] -= step
        difference = -(force.energy(up) - force.energy(down)) / (2.0 * step)
        assert torch.allclose(found[:, atom, axis], difference, rtol=1e-6, atol=1e-4)


def test_energy_is_the_formula():
    (x,) = conformations(1, seed=3).numpy()

    def length(i, j):
        return np.linalg.norm(x[j] - x[i])

    def angle(i, j, k):
        a, b = x[i] - x[j], x[k] - x[j]
        return math.acos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    def torsion(i, j, k, l):  # noqa: E741
        axis = (x[k] - x[j]) / length(j, k)
        first, last = ((x[p] - x[q]) - (x[p] - x[q]) @ axis * axis for p, q in ((i, j), (l, k)))
        return math.acos(first @ last / np.linalg.norm(first) / np.linalg.norm(last))

    coordinates = [(length(*row[:2]), row[2:]) for row in FORMULA.bonds]
    coordinates += [(angle(*row[:3]), row[3:]) for row in FORMULA.angles]
    shifts = [value - row[0] for value, row in coordinates]
    energy = sum(
        sum(a * shift ** (p + 1) for p, a in enumerate(row[1:]))
        for shift, (_, row) in zip(shifts, coordinates, strict=True)
    )
    energy += sum(k * shifts[a] * shifts[b] for a, b, k in FORMULA.couplings)
    u = 1.0 + math.cos(angle(2, 3, 4))
    energy += 80.0 * u + 10.0 * u**2
    for *atoms, p1, p2, p3, p4 in FORMULA.torsions:
        phi = torsion(*atoms)
        energy += sum(p * math.cos((m + 1) * phi) for m, p in enumerate((p1, p2, p3, p4)))
    found = ValenceForce(FORMULA, 6).energy(torch.from_numpy(x)[None])
    assert float(found) == pytest.approx(energy, rel=1e-12)


def test_energy_turns_moves_and_mirrors_with_the_molecule():
    force, x = ValenceForce(FORMULA, 6), conformations(3, seed=1)
    energy, forces = force.energy_and_forces(x)
    generator = torch.Generator().manual_seed(2)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    for matrix in (turn, -turn):  # one of them is a reflection
        moved, pulled = force.energy_and_forces(x @ matrix.T + 0.3)
        assert torch.allclose(moved, energy, rtol=1e-11)
        assert torch.allclose(pulled, forces @ matrix.T, atol=1e-8 * float(forces.abs().max()))
    torque = torch.linalg.cross(x, forces, dim=-1).sum(1)
    size = float(forces.abs().max())
    assert forces.sum(1).abs().max() < 1e-10 * size and torque.abs().max() < 1e-10 * size


def test_single_precision_is_near_and_straight_angles_are_smooth():
    force, x = ValenceForce(FORMULA, 6), conformations(4)
    exact = force(x)
    assert (force(x.float()) - exact).abs().max() < 1e-4 * exact.abs().max()
    axis = (x[:, 3] - x[:, 2]) / (x[:, 3] - x[:, 2]).norm(dim=-1, keepdim=True)
    x[:, 4] = x[:, 3] + 0.12 * axis
    bent = ValenceForce(ValenceFormula(straight=FORMULA.straight), 6)
    assert bent(x).abs().max() < 1e-4 and bent.energy(x).abs().max() < 1e-12
    # A torsion over a straight angle has no direction, and no force.
    x[:, 3] = x[:, 2] + 0.12 * (x[:, 2] - x[:, 1])
    assert bool(force(x).isfinite().all())


def test_a_formula_survives_json():
    import json

    again = ValenceFormula.from_dict(json.loads(json.dumps(FORMULA.to_dict())))
    assert again == FORMULA
    x = conformations(2)
    assert torch.equal(ValenceForce(again, 6)(x), ValenceForce(FORMULA, 6)(x))
    with pytest.raises(KeyError):
        ValenceFormula.from_dict({"bonds": []})


def test_no_terms_no_force():
    energy, forces = ValenceForce(ValenceFormula(), 6).energy_and_forces(conformations(2))
    assert torch.equal(energy, torch.zeros(2)) and torch.equal(forces, torch.zeros(2, 6, 3))


def test_what_cannot_be_is_a_sentence():
    with pytest.raises(MolflowError, match="names atoms up to 5, and there are 5"):
        ValenceForce(FORMULA, 5)
    with pytest.raises(MolflowError, match="a row of bonds has not 7 finite numbers"):
        ValenceFormula(bonds=[(0, 1, 0.1, math.nan, 1.0, 0.0, 0.0)])
    with pytest.raises(MolflowError, match="a coupling names a coordinate .* beyond the 0 bonds"):
        ValenceFormula(couplings=[(0, 1, 2.0)])
