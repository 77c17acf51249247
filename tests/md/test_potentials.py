"""Potentials in place of force fields: energies, states that cannot be, failures, plug-ins."""

import shutil
import sys

import numpy as np
import openmm
import pytest
import yaml
from own_potential import water_under

from molflow.errors import MolflowError
from molflow.md.build import build
from molflow.md.energies import EnergyWorkers, evaluate, fitting_platform, potential_energies
from molflow.md.minimise import minimise
from molflow.md.simulate import simulate
from molflow.potentials import POTENTIALS, Potential
from molflow.setup import understanding
from molflow.systems import load_system


def system_with(folder, **potential):
    return water_under(folder, potential)


@pytest.fixture
def water(tmp_path):
    return system_with(tmp_path / "water", name="gfn2-xtb")


def shaken(system, count, size=0.003):
    generator = np.random.default_rng(0)
    start = system.start_positions()
    return start + size * generator.standard_normal((count, *start.shape))


def test_energy_is_that_of_the_library(water):
    from tblite.interface import Calculator

    bohr, hartree = 0.0529177210903, 2625.4996394799
    for frame in shaken(water, 2):
        native = Calculator("GFN2-xTB", np.array([8, 1, 1]), frame / bohr)
        native.set("verbosity", 0)
        result = native.singlepoint()
        found = evaluate(water, frame[None])
        assert found.energies[0] == pytest.approx(result["energy"] * hartree, abs=1e-3)
        forces = -result["gradient"] * hartree / bohr
        assert np.allclose(found.forces[0], forces, atol=0.05) and np.abs(forces).max() > 100
        assert found.failures == ("",)


def test_energy_does_not_hang_on_what_came_before_it(water):
    frames = shaken(water, 6)
    together = evaluate(water, frames, jobs=1)
    assert np.array_equal(evaluate(water, frames[4:], jobs=1).forces, together.forces[4:])
    with EnergyWorkers(water, jobs=2) as workers:
        assert np.array_equal(workers.evaluate(frames).energies, together.energies)


def test_solvent_and_charge_change_the_energy_and_the_ensemble(tmp_path, water):
    solvated = system_with(tmp_path / "solvated", name="gfn2-xtb", solvent="water")
    frame = water.start_positions()[None]
    difference = potential_energies(solvated, frame) - potential_energies(water, frame)
    assert -60.0 < difference[0] < -5.0  # the free energy of hydration of water is -26 kJ/mol
    cation = system_with(tmp_path / "cation", name="gfn2-xtb", charge=1, multiplicity=2)
    assert potential_energies(cation, frame) > potential_energies(water, frame) + 500.0
    assert len({s.ensemble_hash for s in (water, solvated, cation)}) == 3
    potential = water.ensemble["potential"]
    assert potential["name"] == "gfn2-xtb" and potential["version"].startswith("0.8")


def test_a_descent_finds_the_minimum_that_another_optimiser_finds(water):
    """Whose first step leads to where no SCF converges."""
    ase = pytest.importorskip("ase")
    from ase.optimize import BFGS
    from tblite.ase import TBLite

    frame = water.start_positions().astype(float)
    frame[1] += 0.01
    atoms = ase.Atoms([8, 1, 1], positions=10 * frame, calculator=TBLite(verbosity=0))
    BFGS(atoms, logfile=None).run(fmax=1e-3)
    built, _ = build(water)
    context = openmm.Context(built, openmm.VerletIntegrator(0.001), fitting_platform(built))
    context.setPositions(frame)
    minimise(water, context, tolerance=1.0)
    state = context.getState(energy=True, positions=True)
    found = state.getPositions(asNumpy=True)._value
    expected = 0.1 * atoms.get_positions()
    for i, j in ((0, 1), (0, 2), (1, 2)):
        length = np.linalg.norm(expected[i] - expected[j])
        assert np.linalg.norm(found[i] - found[j]) == pytest.approx(length, abs=2e-4)
    energy = atoms.get_potential_energy() * 96.48533
    assert state.getPotentialEnergy()._value == pytest.approx(energy, abs=0.05)


def test_failures_are_counted_frame_by_frame(water):
    frames = shaken(water, 3)
    frames[1, 1] = frames[1, 0]
    found = evaluate(water, frames)
    assert found.failures == ("", "Too close interatomic distances found", "")
    assert np.isinf(found.energies[1]) and np.isfinite(found.energies[[0, 2]]).all()
    assert np.isnan(found.forces[1]).all() and np.isfinite(found.forces[[0, 2]]).all()
    assert np.isinf(potential_energies(water, frames)[1])


def test_an_scf_that_does_not_converge_is_said(tmp_path):
    hasty = system_with(tmp_path / "hasty", name="gfn2-xtb", options={"max_iterations": 6})
    frame = hasty.start_positions()[None].copy()
    frame[0, 1:] *= 5.0
    assert "not converged in 6 cycles" in evaluate(hasty, frame).failures[0]
    with pytest.raises(MolflowError, match="replica 0 failed: .*SCF not converged in"):
        stuck = system_with(tmp_path / "stuck", name="gfn2-xtb", options={"max_iterations": 2})
        simulate(stuck, "1ps", 1, tmp_path / "md", equilibration="0ps", progress=False)


@pytest.mark.parametrize(
    ("potential", "sentence"),
    [
        ({"name": "gfn3"}, "no potential 'gfn3': choose one of gfn2-xtb, gfn1-xtb, aimnet2"),
        ({"name": "gfn2-xtb", "charge": 1}, "9 electrons with the charge 1"),
        ({"name": "gfn2-xtb", "multiplicity": 2}, "10 electrons .* 1 cannot be unpaired"),
        ({"name": "gfn2-xtb", "multiplicity": 13}, "of which 12 cannot be unpaired"),
        ({"name": "gfn2-xtb", "solvent": "watr"}, "does not take the solvent 'watr'"),
        (
            {"name": "gfn2-xtb", "options": {"max_iterations": "many"}},
            "does not take max_iterations 'many' .*: choose other options",
        ),
        ({"name": "gfn2-xtb", "options": {"basis": 3}}, "takes no basis: it takes accuracy, "),
        ({"name": "gfn2-xtb", "version": "0.3.0"}, "asks for .* tblite 0.3.0, and 0.8"),
        ({"name": "ani2x", "charge": 2}, "'ani2x' takes no charge: it takes nothing"),
        ({"name": "ani2x"}, "'ani2x' needs the package torchani, which is not .*pip install"),
        ({"name": "aimnet2"}, "'aimnet2' needs the package aimnet, .* pip install openmmml aimnet"),
    ],
)
def test_what_cannot_be_is_a_sentence(tmp_path, potential, sentence):
    package = {"ani2x": "torchani", "aimnet2": "aimnet"}.get(potential["name"])
    if package and POTENTIALS[potential["name"]].version() is not None:
        pytest.skip(f"{package} is installed")
    with pytest.raises(MolflowError, match=sentence):
        potential_energies(system_with(tmp_path / "bad", **potential), np.zeros((1, 3, 3)))


def test_missing_package_is_a_sentence(water, monkeypatch):
    monkeypatch.setitem(sys.modules, "tblite.ase", None)
    monkeypatch.setattr(Potential, "version", lambda self: None)
    with pytest.raises(MolflowError, match=r"needs the package tblite, .* molflow\[xtb"):
        potential_energies(water, water.start_positions()[None])


def test_neither_or_both_energies_is_a_sentence(tmp_path, water):
    for name, changes in (("both", {"forcefield": ["tip3p.xml"]}), ("none", {"potential": None})):
        shutil.copytree(water.folder, tmp_path / name)
        text = yaml.safe_load((water.folder / "system.yaml").read_text()) | changes
        (tmp_path / name / "system.yaml").write_text(yaml.safe_dump(text))
        with pytest.raises(MolflowError, match="either a forcefield or a potential"):
            load_system(tmp_path / name)


def test_a_torch_model_comes_in_from_outside(own, tmp_path):
    system = own("water", 2.0)
    assert system.ensemble["potential"]["version"] == "1.0"
    frames = shaken(system, 2)
    found = evaluate(system, frames)
    # The model's formula in Angstrom and eV; ASE has constants of its own.
    unit, size = 96.48533212331002, 2.0 * np.array([1.0, 1.0, 0.1])
    vectors = frames[:, [0, 0, 1]] - frames[:, [1, 2, 2]]
    lengths = np.linalg.norm(vectors, axis=-1)
    d = 10 * lengths - [0.96, 0.96, 1.52]
    energies = unit * (size * (0.5 * d**2 - 0.4 * d**3 + 0.4 * d**4)).sum(1)
    assert np.allclose(found.energies, energies, rtol=1e-6)
    slopes = 10 * unit * size * (d - 1.2 * d**2 + 1.6 * d**3)
    pull = -(slopes / lengths)[..., None] * vectors
    assert np.allclose(found.forces[:, 0], pull[:, 0] + pull[:, 1], rtol=1e-6)
    result = simulate(system, "0.2ps", 1, tmp_path / "md", frame_interval="10fs",
                      equilibration="0ps", progress=False)  # fmt: skip
    assert result["status"] == "finished" and result["platform"] == "Reference"


def test_a_descent_ends_by_the_clock(water, monkeypatch):
    """After some iterations at least, wherever it is, and says so."""
    monkeypatch.setattr("molflow.md.minimise._FEWEST", 2)
    frame = water.start_positions().astype(float)
    frame[1] += 0.03
    built, _ = build(water)
    context = openmm.Context(built, openmm.VerletIntegrator(0.001), fitting_platform(built))
    energies = []
    for seconds in (0.0, 60.0):
        context.setPositions(frame)
        assert minimise(water, context, tolerance=1e-4, seconds=seconds) == (seconds > 0)
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    context.setPositions(frame)
    start = context.getState(energy=True).getPotentialEnergy()._value
    assert energies[1] < energies[0] < start - 10.0


def test_a_step_is_timed_where_no_answer_is_at_hand(water, monkeypatch):
    """An SCF that begins with the answer needs one iteration, in dynamics it needs many."""
    places = []

    class Context:
        def __init__(self, *_):
            pass

        def setPositions(self, x):  # noqa: N802
            places.append(np.array(x))

        def getState(self, **_):  # noqa: N802
            pass

    monkeypatch.setattr(openmm, "Context", Context)
    monkeypatch.setattr(understanding, "_MEASURING", 0.0)
    assert understanding.cost_of_step(water)[0] == "Reference"
    moved = [np.abs(b - a).max() for a, b in zip(places, places[1:], strict=False)]
    assert len(moved) == 5 and all(1e-4 < value < 0.02 for value in moved)
