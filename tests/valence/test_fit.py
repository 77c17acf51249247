"""Formulas from forces: exact answers, convexity, symmetry, and quantum-chemical forces."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from molflow.brownian.path import BrownianPath
from molflow.errors import MolflowError
from molflow.sde.underdamped import UnderdampedLangevin
from molflow.solvers.baoab import baoab_step
from molflow.solvers.loop import trajectory, uniform_times
from molflow.valence.convex import FLOOR, convex_coefficients
from molflow.valence.design import Design, measured
from molflow.valence.fit import fit_valence
from molflow.valence.force import ValenceForce
from molflow.valence.formula import ValenceFormula
from molflow.valence.terms import valence_terms

METHANOL = [6, 8, 1, 1, 1, 1], [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5)]
MASSES = torch.tensor([12.011, 15.999, 1.008, 1.008, 1.008, 1.008], dtype=torch.float64)


def structure():
    """Methanol, staggered."""
    rows = [[0.0, 0.0, 0.0], [0.141, 0.0, 0.0]]
    rows += [[-0.037, 0.103 * math.cos(a), 0.103 * math.sin(a)] for a in (1.05, 3.14, 5.24)]
    return np.array([*rows, [0.171, 0.0906, 0.0]])


@pytest.fixture(scope="module")
def quantum():
    """Frames of hot methanol and their forces under GFN2-xTB."""
    ase = pytest.importorskip("ase")
    pytest.importorskip("tblite")
    from molflow.md.potentials.xtb import GFN2
    from molflow.potentials import PotentialSettings

    calculator = GFN2.create.args[0](PotentialSettings(name="gfn2-xtb"))
    atoms = ase.Atoms(METHANOL[0], positions=10 * structure(), calculator=calculator)
    unit = 964.8533212331
    generator = np.random.default_rng(0)
    x, v = structure(), np.zeros((6, 3))
    masses, frames = MASSES.numpy()[:, None], []
    forces = atoms.get_forces() * unit
    step, kept = 0.001, math.exp(-0.001 * 20.0)
    size = np.sqrt((1.0 - kept**2) * 8.314e-3 * 700.0 / masses)
    for k in range(900):
        v = kept * (v + step * forces / masses) + size * generator.standard_normal((6, 3))
        x = x + step * v
        atoms.set_positions(10 * x)
        forces = atoms.get_forces() * unit
        if k > 150 and k % 4 == 0:
            frames.append((x, forces))
    return tuple(np.array(arrays) for arrays in zip(*frames, strict=True))


def test_forces_of_a_formula_are_found_again():
    generator = np.random.default_rng(1)
    x = structure() + 0.004 * generator.standard_normal((200, 6, 3))
    terms = valence_terms(*METHANOL, x)
    stiffness = {2: (2e5, -2e6, 1.2e7), 3: (200.0, -30.0, 20.0)}
    middle = {2: 0.12, 3: 1.9}
    known = ValenceFormula(
        bonds=[(*b, middle[2], 0.0, *stiffness[2]) for b in terms.bonds],
        angles=[(*a, middle[3], 0.0, *stiffness[3]) for a in terms.angles],
        torsions=[(*four, 1.0, 0.0, 3.0, 0.0) for four in terms.torsions],
        couplings=[(a, b, 2e3 if b < 5 else 50.0 if a < 5 else 8.0) for a, b in terms.pairs],
    )
    forces = ValenceForce(known, 6)(torch.from_numpy(x)).numpy()
    fit = fit_valence(*METHANOL, x, forces)
    assert fit.rest < 2e-3 * fit.force and fit.force == pytest.approx(forces.std(), rel=0.05)
    new = structure() + 0.004 * generator.standard_normal((20, 6, 3))
    expected = ValenceForce(known, 6)(torch.from_numpy(new))
    found = ValenceForce(fit.formula, 6)(torch.from_numpy(new))
    assert (found - expected).square().mean() < 1e-5 * expected.square().mean()


def test_a_bond_that_is_not_convex_is_the_best_convex_one():
    """Two atoms whose true polynomial falls outside, against another solver."""
    generator = np.random.default_rng(2)
    z = generator.standard_normal(400)
    x = np.zeros((400, 2, 3))
    x[:, 1, 0] = 0.1 + 0.003 * z
    terms = valence_terms([1, 17], [(0, 1)], x)
    design = Design(terms, measured(terms, torch.from_numpy(x)))
    ((_, matrix),) = design.matrices(torch.from_numpy(x))
    matrix = matrix.flatten(0, 1)
    scaled = (torch.from_numpy(x[:, 1, 0]) - design.measures.middle) / design.measures.width
    slope = 2.0 * scaled - 0.9 * scaled**2 + 0.1 * scaled**3
    forces = torch.zeros(400, 2, 3, dtype=torch.float64)
    forces[:, 1, 0], forces[:, 0, 0] = -slope / design.measures.width, slope / design.measures.width
    gram, right = matrix.mT @ matrix, matrix.mT @ forces.flatten()
    free = torch.linalg.solve(gram, right)
    assert 2 * free[1] - 0.75 * free[2] ** 2 / free[3] < -0.1  # not convex
    found = convex_coefficients(gram, right, design)
    unit = float(gram[1, 1])

    def loss(c):
        return (0.5 * c @ (gram.numpy() @ c) - right.numpy() @ c) / unit

    def margin(c):
        return (2 * c[1] - FLOOR) * c[3] - 0.75 * c[2] ** 2

    bound = {"type": "ineq", "fun": margin}
    positive = {"type": "ineq", "fun": lambda c: np.array([c[3] - 1e-9, 2 * c[1] - FLOOR])}
    other = minimize(loss, [0.0, 2.0, 0.0, 0.1], constraints=[bound, positive], method="SLSQP",
                     options={"ftol": 1e-14, "maxiter": 500})  # fmt: skip
    assert other.success
    assert loss(found.numpy()) == pytest.approx(other.fun, rel=1e-3)
    assert np.allclose(found.numpy(), other.x, atol=0.02)


def test_quantum_forces_are_most_of_a_formula(quantum):
    x, f = quantum
    train, test = slice(0, None, 2), slice(1, None, 2)
    fit = fit_valence(*METHANOL, x[train], f[train])
    force = ValenceForce(fit.formula, 6)
    rest = f[test] - force(torch.from_numpy(x[test])).numpy()
    assert rest.std() < 0.12 * f[test].std() and fit.rest < 0.12 * fit.force
    # The harmonic formula leaves several times as much.
    harmonic = ValenceFormula(
        bonds=[(*row[:5], 0.0, 0.0) for row in fit.formula.bonds],
        angles=[(*row[:6], 0.0, 0.0) for row in fit.formula.angles],
        torsions=fit.formula.torsions,
    )
    left = f[test] - ValenceForce(harmonic, 6)(torch.from_numpy(x[test])).numpy()
    assert left.std() > 2.0 * rest.std()


def test_the_fitted_formula_is_convex_everywhere(quantum):
    fit = fit_valence(*METHANOL, *quantum)
    assert fit.curvature >= 0.5 * FLOOR
    rows = [row[2:] for row in fit.formula.bonds] + [row[3:] for row in fit.formula.angles]
    coupling = np.zeros((len(rows), len(rows)))
    for a, b, k in fit.formula.couplings:
        coupling[a, b] = coupling[b, a] = k
    generator = np.random.default_rng(0)
    _, _, a2, a3, a4 = np.array(rows).T
    assert (a4 > 0).all()
    for size in (0.0, 0.3, 1.0, 10.0):
        d = size * generator.standard_normal(len(rows))
        d[:5] *= 0.1  # bonds
        hessian = coupling + np.diag(2 * a2 + 6 * a3 * d + 12 * a4 * d**2)
        scale = np.sqrt(np.diag(hessian))
        assert np.linalg.eigvalsh(hessian / scale / scale[:, None])[0] > 0


def test_the_size_of_the_forces_is_of_no_account(quantum):
    """Another unit of energy is the same fit, but for the least curvature."""
    x, f = quantum
    one, large = fit_valence(*METHANOL, x, f), fit_valence(*METHANOL, x, 40.0 * f)
    assert large.rest == pytest.approx(40.0 * one.rest, rel=0.02)


def test_equivalent_atoms_may_be_exchanged(quantum):
    x, f = quantum
    force = ValenceForce(fit_valence(*METHANOL, x, f).formula, 6)
    exchanged = [0, 1, 3, 2, 4, 5]
    one = torch.from_numpy(x[:5])
    assert torch.allclose(force(one[:, exchanged]), force(one)[:, exchanged], rtol=1e-9, atol=1e-6)


@pytest.fixture
def one_thread():
    """Thousands of small products, of which threads make slow ones."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_dynamics_of_the_formula_alone_break_no_bond_at_900_kelvin(quantum):
    fit = fit_valence(*METHANOL, *quantum)
    force = ValenceForce(fit.formula, 6)
    sde = UnderdampedLangevin(force, MASSES, 10.0, 900.0)
    x = torch.from_numpy(quantum[0][-24:])
    state = torch.stack([x, torch.zeros_like(x)], dim=1)
    path = BrownianPath(sde.basis(1), 0.0, 0.5, tuple(x.shape), 0, dtype=x.dtype)
    times = uniform_times(path, 1024)
    lengths, kinetic = [], []
    pairs = torch.tensor([row[:2] for row in fit.formula.bonds])
    middle = torch.tensor([row[2] for row in fit.formula.bonds])
    steps = trajectory(partial(baoab_step, sde), state, path, times)
    for k, state in enumerate(steps):
        if k > 300 and k % 16 == 0:
            vector = state[:, 0, pairs[:, 0]] - state[:, 0, pairs[:, 1]]
            lengths.append(vector.norm(dim=-1) / middle)
            kinetic.append((MASSES[:, None] * state[:, 1] ** 2).mean())
    lengths = torch.stack(lengths)
    assert 0.6 < lengths.min() and lengths.max() < 1.6
    assert float(torch.stack(kinetic).mean()) == pytest.approx(8.314e-3 * 900.0, rel=0.06)


@pytest.mark.parametrize("angle", [math.pi, 2.4])
def test_a_straight_molecule_bends_like_its_model(angle):
    """Carbon dioxide whose bends have their minimum at an angle."""
    generator = np.random.default_rng(0)
    x = np.array([[0.116, 0, 0], [0.0, 0, 0], [-0.116, 0, 0]]) + 0.006 * (
        generator.standard_normal((300, 3, 3))
    )
    least = 1.0 + math.cos(angle)
    rows = ((1, 0, 0.116, 0.0, 5e5, 0.0, 0.0), (1, 2, 0.116, 0.0, 5e5, 0.0, 0.0))
    true = ValenceFormula(bonds=rows, straight=[(0, 1, 2, 200.0 - 800.0 * least, 400.0)])
    forces = ValenceForce(true, 3)(torch.from_numpy(x)).numpy()
    fit = fit_valence([8, 6, 8], [(0, 1), (1, 2)], x, forces)
    assert len(fit.formula.straight) == 1 and not fit.formula.angles
    assert fit.rest < 0.01 * fit.force
    assert fit.formula.bonds[0][2:] == fit.formula.bonds[1][2:]


def test_what_cannot_be_fitted_is_a_sentence(quantum):
    x, f = quantum
    with pytest.raises(MolflowError, match="3 frames have 54 components .* give at least"):
        fit_valence(*METHANOL, x[:3], f[:3])
    with pytest.raises(MolflowError, match="same in all 200 frames, and its stiffness"):
        fit_valence(*METHANOL, np.repeat(x[:1], 200, axis=0), np.repeat(f[:1], 200, axis=0))
    with pytest.raises(MolflowError, match="there are 6 atoms: give"):
        fit_valence(*METHANOL, x[:, :5], f[:, :5])
    broken = f.copy()
    broken[3] = np.nan
    with pytest.raises(MolflowError, match="1 of 187 frames have .* not finite: leave them out"):
        fit_valence(*METHANOL, x, broken)
