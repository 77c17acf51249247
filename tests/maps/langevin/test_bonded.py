"""Bonded forces by formula against OpenMM, and the motion under them against finer solutions."""

import math

import numpy as np
import openmm
import pytest
import torch
from langevin_maps import BONDED, SCALES, thermal_state
from scipy.linalg import expm

from molflow.bonded_terms import BondedTerms
from molflow.brownian.increment import Increment
from molflow.brownian.legendre import legendre_integrals, shifted_legendre
from molflow.comparison import find_reference
from molflow.errors import MolflowError
from molflow.maps.langevin import step_plan
from molflow.maps.langevin.bonded_force import BondedForce
from molflow.maps.langevin.known_motion import KnownMotion, between, expansion
from molflow.md.bonded import bonded_terms
from molflow.md.build import build
from molflow.sde.underdamped import UnderdampedLangevin
from molflow.systems import load_system

CLASSES = (openmm.HarmonicBondForce, openmm.HarmonicAngleForce, openmm.PeriodicTorsionForce)


@pytest.fixture(scope="module")
def dipeptide():
    return build(load_system("alanine_dipeptide"))[0]


def test_forces_are_openmms(dipeptide):
    terms = bonded_terms(dipeptide)
    assert (len(terms.bonds), len(terms.angles)) == (21, 36) and len(terms.torsions) > 40
    frames = find_reference("alanine_dipeptide").positions[::40].astype(float)
    frames = frames + 0.02 * np.random.default_rng(0).standard_normal(frames.shape)
    for force in dipeptide.getForces():
        force.setForceGroup(1 if type(force) in CLASSES else 0)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(dipeptide, openmm.VerletIntegrator(0.001), platform)
    expected = []
    for frame in frames:
        context.setPositions(frame)
        state = context.getState(forces=True, groups={1})
        expected.append(state.getForces(asNumpy=True)._value)
    found = BondedForce(terms, 22)(torch.from_numpy(frames))
    assert np.abs(found.numpy() - expected).max() < 1e-10 * np.abs(expected).max()
    single = BondedForce(terms, 22)(torch.from_numpy(frames).float())
    assert (single - found).abs().max() < 1e-4 * found.abs().max()


def test_many_atoms_need_no_matrix_of_all_pairs_and_get_the_same_forces():
    x = thermal_state("overdamped", 3)[0]
    small = BondedForce(BONDED, 5)
    large = BondedForce(BONDED, 500)
    assert sum(value.numel() for value in large.buffers()) < 100
    found = large(torch.cat([x, torch.zeros(3, 495, 3).double()], dim=1))
    assert torch.allclose(found[:, :5], small(x), rtol=1e-12, atol=1e-9)
    assert not found[:, 5:].any() and found[:, :5].abs().max() > 100.0


def test_a_force_pulls_and_turns_nothing_as_a_whole():
    x = thermal_state("overdamped", 6)[0]
    force = BondedForce(BONDED, 5)(x)
    assert force.abs().max() > 100.0
    assert force.sum(1).abs().max() < 1e-9
    assert torch.linalg.cross(x, force, dim=2).sum(1).abs().max() < 1e-9


def test_each_kind_is_the_slope_of_its_energy():
    """Against the derivative of the energies as they are written down."""
    x = thermal_state("overdamped", 4)[0].requires_grad_(True)

    def torsion(i, j, k, l):  # noqa: E741
        b1, b2, b3 = x[:, j] - x[:, i], x[:, k] - x[:, j], x[:, l] - x[:, k]
        n1, n2 = torch.linalg.cross(b1, b2), torch.linalg.cross(b2, b3)
        sine = torch.linalg.vector_norm(b2, dim=-1) * (b1 * n2).sum(-1)
        return torch.atan2(sine, (n1 * n2).sum(-1))

    energy = 0.0
    for i, j, r, k in BONDED.bonds:
        energy = energy + 0.5 * k * (torch.linalg.vector_norm(x[:, i] - x[:, j], dim=-1) - r) ** 2
    for i, j, k, theta, stiffness in BONDED.angles:
        a, b = x[:, i] - x[:, j], x[:, k] - x[:, j]
        cosine = (a * b).sum(-1) / torch.linalg.vector_norm(a, dim=-1)
        angle = torch.acos(cosine / torch.linalg.vector_norm(b, dim=-1))
        energy = energy + 0.5 * stiffness * (angle - theta) ** 2
    for *atoms, n, phase, k in BONDED.torsions:
        energy = energy + k * (1.0 + torch.cos(n * torsion(*atoms) - phase))
    (slope,) = torch.autograd.grad(energy.sum(), x)
    force = BondedForce(BONDED, 5)(x.detach())
    assert torch.allclose(force, -slope, rtol=1e-9, atol=1e-7)


def test_straight_angles_and_coincident_atoms_give_finite_forces():
    straight = torch.arange(5.0).double()[None, :, None] * torch.tensor([0.1, 0.0, 0.0]).double()
    for x in (straight, torch.zeros(1, 5, 3).double(), straight.float()):
        x = x.clone().requires_grad_(True)
        force = BondedForce(BONDED, 5)(x)
        assert bool(force.isfinite().all())


def test_impossible_terms_are_sentences():
    with pytest.raises(MolflowError, match="a row of angles has not 5 finite numbers"):
        BondedTerms(angles=((0, 1, 2, 1.9),))
    with pytest.raises(MolflowError, match="bonded terms name atoms up to 7, and there are 5"):
        BondedForce(BondedTerms(bonds=((0, 7, 0.1, 1000.0),)), 5)
    assert BondedTerms.from_dict(BONDED.to_dict()) == BONDED and BONDED and not BondedTerms()


def test_polynomials_and_their_integrals():
    node, weight = np.polynomial.legendre.leggauss(20)
    share = torch.linspace(0.0, 1.0, 7).double()
    found = legendre_integrals(share, 6)
    for row, theta in zip(found, share.tolist(), strict=True):
        at = torch.from_numpy(theta * (0.5 + 0.5 * node))
        expected = 0.5 * theta * torch.from_numpy(weight) @ shifted_legendre(at, 6)
        assert torch.allclose(row, expected, atol=1e-14)
    # A parabola is met, and another curve to order 4.
    theta = torch.linspace(0.0, 1.0, 9).double()
    wanted = torch.tensor([4.0 + 1.0 / 3.0, 1.5, 1.0 / 6.0, 0.0]).double()
    assert torch.allclose(expansion(9, 4) @ (3.0 + 2.0 * theta + theta**2), wanted)
    errors = []
    for points in (17, 33):
        theta = torch.linspace(0.0, 1.0, points).double()
        wanted = torch.zeros(6).double()
        wanted[4] = 1.0
        found = expansion(points, 6) @ shifted_legendre(theta, 5)[:, 4]
        errors.append(float((found - wanted).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(16.0, rel=0.1)


def test_values_between_nodes_are_those_of_parabolas():
    nodes = torch.linspace(0.0, 1.0, 7, dtype=torch.float64)
    shares = torch.tensor([0.0, 0.1, 1.0 / 3.0, 0.5, 0.77, 1.0]).double()
    assert torch.allclose(between(7, shares) @ nodes**2, shares**2, atol=1e-15)
    assert torch.allclose(between(7, nodes), torch.eye(7).double(), atol=1e-14)
    # Other curves are met to order 3, those of other substeps do not matter.
    errors = [
        float((between(n, shares) @ torch.sin(8.0 * torch.linspace(0, 1, n, dtype=torch.float64))
               - torch.sin(8.0 * shares)).abs().max())
        for n in (81, 161)
    ]  # fmt: skip
    assert 6.0 < errors[0] / errors[1] < 20.0
    kinked = (nodes - 2.0 / 3.0).clamp(min=0.0)
    assert torch.allclose(between(7, shares) @ kinked, (shares - 2.0 / 3.0).clamp(min=0.0))


def oscillator(friction=3.0, order=2):
    """Return the motion of two atoms on a spring in one dimension, and its rate."""
    masses = torch.tensor([1.0, 12.0]).double()
    terms = BondedTerms(bonds=((0, 1, 0.1, 280000.0),))
    rate = math.sqrt(280000.0 * (1.0 + 1.0 / 12.0))
    force = BondedForce(terms, 2)
    sde = UnderdampedLangevin(force, masses, friction, 300.0)
    return KnownMotion(sde, force, sde.basis(order), 0.04), rate, masses


@pytest.mark.parametrize("friction", [3.0, 60.0])
def test_a_vibration_is_that_of_the_matrix_exponential(monkeypatch, friction):
    motion, rate, masses = oscillator(friction, order=8)
    still = torch.zeros(1, 2, 3).double()
    x = torch.stack([still, still], dim=1)
    x[0, 0, 1, 0] = 0.1
    stretch = torch.tensor([12.0, -1.0]).double() / 13.0
    x[0, 0, :, 0] -= 0.004 * stretch
    x[0, 1, :, 0] = 1.2 * stretch
    h = torch.tensor([0.02]).double()
    matrix = np.array([[0.0, 1.0], [-(rate**2), -friction]])
    errors = []
    for substep in (0.00125, 0.000625, 0.0003125):
        monkeypatch.setattr(step_plan, "SUBSTEP", substep)
        plan = motion.plan(h, x)
        free = motion.free(plan, x, torch.zeros(1, 2, 3, 9).double())
        assert len(free) == round(0.04 / substep) + 1
        path, end = motion.respond(plan, free)
        length = path[:, 0, 1, 0] - path[:, 0, 0, 0] - 0.1
        exact = np.array([expm(0.02 * t * matrix) @ [0.004, -1.2] for t in plan.nodes.tolist()])
        slow = -1.2 * math.exp(-0.02 * friction) + float(end[0, 1, 1, 0] - end[0, 1, 0, 0])
        off = abs(length.numpy() - exact[:, 0])
        errors.append([off[::2].max(), off[1::2].max(), abs(slow - exact[-1, 1]) / rate])
        moved = path[-1, 0, :, 0] - x[0, 0, :, 0]
        assert float((masses * moved).sum()) == pytest.approx(0.0, abs=1e-12)
    errors = np.array(errors)
    # Of 0.0045 nm; substeps' ends, their middles, the end of the velocity: of order 4.
    assert errors[0].max() < 1e-5 and np.all(errors[:-1] / errors[1:] > 14.0)


def test_a_vibration_keeps_its_energy():
    """One step is a rotation in phase space: states in equilibrium stay there."""
    motion, rate, masses = oscillator(friction=1e-9)
    h = torch.tensor([0.02]).double()
    stretch = torch.tensor([12.0, -1.0]).double() / 13.0
    ends = []
    for length, speed in ((1e-6, 0.0), (0.0, 1e-6 * rate)):
        x = torch.zeros(1, 2, 2, 3).double()
        x[0, 0, 1, 0] = 0.1
        x[0, 0, :, 0] -= length * stretch
        x[0, 1, :, 0] = -speed * stretch
        plan = motion.plan(h, x)
        free = motion.free(plan, x, torch.zeros(1, 2, 3, 3).double())
        path, end = motion.respond(plan, free)
        v = x[0, 1] + end[0, 1]
        ends.append([
            float(path[-1, 0, 1, 0] - path[-1, 0, 0, 0] - 0.1) / 1e-6,
            float(v[1, 0] - v[0, 0]) / (1e-6 * rate),
        ])  # fmt: skip
    turn = np.array(ends)
    assert abs(np.linalg.det(turn) - 1.0) < 1e-5
    assert np.abs(turn @ turn.T - np.eye(2)).max() < 3e-3


def test_without_forces_the_path_is_the_free_one_and_ends_where_the_equation_says():
    _, generator = thermal_state("langevin", 3)
    motion, _, _ = oscillator()
    motion.bonded = BondedForce(BondedTerms(), 2)
    x = torch.randn(3, 2, 2, 3, generator=generator, dtype=torch.float64)
    z = torch.randn(3, 2, 3, 3, generator=generator, dtype=torch.float64)
    h = torch.tensor([0.001, 0.01, 0.04]).double()
    plan = motion.plan(h, x)
    free = motion.free(plan, x, z)
    path, end = motion.respond(plan, free)
    assert torch.equal(path, free) and not end.any()
    increment = Increment.from_whitened(motion.basis, h, z)
    wanted = motion.sde.apply(0 * h, h, x, torch.zeros_like(x), increment)
    assert torch.allclose(path[-1], wanted[:, 0], rtol=1e-12, atol=1e-13)
    assert torch.allclose(path[0], x[:, 0], rtol=0, atol=1e-15)


def test_a_given_force_pushes_as_the_equation_says(monkeypatch):
    """The response to a constant is the gain; to P₁ and P₂ that of the integral, by quadrature."""
    monkeypatch.setattr(step_plan, "SUBSTEP", 1e-3)
    motion, _, _ = oscillator(friction=60.0)
    motion.bonded = BondedForce(BondedTerms(), 2)
    h = torch.tensor([0.03]).double()
    x = torch.zeros(1, 2, 2, 3).double()
    plan = motion.plan(h, x)
    free = motion.free(plan, x, torch.zeros(1, 2, 3, 3).double())
    node, weight = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(40))
    u = 0.03 * (0.5 + 0.5 * node)
    for n in range(3):
        given = torch.zeros(3, 1, 2, 3).double()
        given[n] = 7.0
        end = motion.respond(plan, free, given)[1][0, :, 0, 0]
        left = 0.03 - u
        push = 0.5 * 0.03 * weight * 7.0 * shifted_legendre(u / 0.03, 3)[:, n]
        wanted = [
            -(torch.expm1(-60.0 * left) / 60.0 * push).sum(),
            (torch.exp(-60.0 * left) * push).sum(),
        ]
        assert torch.allclose(end, torch.stack(wanted), rtol=2e-5, atol=1e-8)


def test_scales_with_bonded_terms_survive_their_description():
    from dataclasses import replace

    from molflow.maps.dynamics.scales import LangevinScales

    scales = replace(SCALES, bonded=BONDED)
    assert LangevinScales.from_dict(scales.to_dict()) == scales
    assert "bonded" not in SCALES.to_dict()
