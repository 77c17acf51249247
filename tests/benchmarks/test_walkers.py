"""Dynamics of many walkers in torch against OpenMM, and against laws that are known."""

import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch

from molflow.md.build import build
from molflow.systems import load_system

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks/gpu"))
import tempering  # noqa: E402
from walkers import BOLTZMANN, Field, exported  # noqa: E402


@pytest.fixture(scope="module")
def frames():
    """Chignolin's extended and folded structure, one of them hot, with what OpenMM says."""
    import mdtraj

    system = load_system("chignolin")
    built, _ = build(system)
    folded = mdtraj.load(str(system.folder / "folded.pdb")).xyz[0]
    integrator = openmm.LangevinMiddleIntegrator(600.0, 1.0, 0.001)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(built, integrator, platform)
    found = []
    for start, steps in ((system.start_positions(), 0), (folded, 0), (folded, 200)):
        context.setPositions(start)
        integrator.step(steps)
        state = context.getState(positions=True, energy=True, forces=True)
        found.append(
            (
                state.getPositions(asNumpy=True)._value, state.getPotentialEnergy()._value,
                state.getForces(asNumpy=True)._value,
            )
        )  # fmt: skip
    return built, *map(np.array, zip(*found, strict=True))


@pytest.mark.parametrize(
    ("dtype", "of_energy", "of_force"), [(torch.float64, 1e-8, 1e-7), (torch.float32, 0.02, 0.3)]
)
def test_energies_and_forces_are_those_of_openmm(frames, dtype, of_energy, of_force):
    built, x, energies, forces = frames
    energy, force = Field(exported(built), "cpu", dtype)(torch.as_tensor(x).to(dtype))
    assert energy.double().numpy() == pytest.approx(energies, abs=of_energy)
    assert force.double().numpy() == pytest.approx(forces, abs=of_force)


def test_forces_that_the_field_does_not_know_are_told():
    built = build(load_system("alanine_dipeptide"))[0]
    built.addForce(openmm.CustomExternalForce("x"))
    with pytest.raises(ValueError, match="kind CustomExternalForce is not known"):
        exported(built)
    built = build(load_system("alanine_dipeptide"))[0]
    built.addConstraint(0, 1, 0.1)
    with pytest.raises(ValueError, match="has constraints"):
        exported(built)


@pytest.fixture
def ladders(frames):
    parameters = exported(frames[0]) | {"starts": frames[1][[1, 0]]}
    return tempering.Ladders(parameters, 2, "cpu", 0)


def test_every_walker_is_kept_and_an_exchange_obeys_metropolis(ladders):
    torch.manual_seed(1)
    rungs, kt = ladders.rungs, ladders.kt
    rates = []
    for gap in (0.0, 20.0):
        moved, rounds = 0, 400
        for _ in range(rounds):
            ladders.parity = 0
            # Of each pair the hotter is lower in energy by `gap`, and may be swapped at will; or
            # higher, and then only by chance.
            ladders.energy = torch.arange(len(kt)) % 2 * gap
            before = ladders.walkers.clone()
            ladders.exchange()
            moved += (ladders.walkers != before).view(2, rungs)[:, :2].sum().item()
        rates.append(moved / (4 * rounds))
    expected = float(torch.exp((1 / kt[0] - 1 / kt[1]) * -20.0))
    assert rates[0] == 1.0 and rates[1] == pytest.approx(expected, abs=0.06)
    assert sorted(ladders.walkers.tolist()) == list(range(2 * rungs))


def test_velocities_go_with_the_temperature(ladders):
    torch.manual_seed(2)
    ladders.thermalise()
    ladders.energy.zero_()
    ladders.exchange()
    kinetic = (ladders.v.square() / ladders.inverse_mass).mean((1, 2)).view(2, -1).mean(0)
    wanted = BOLTZMANN * torch.tensor(tempering.TEMPERATURES)
    assert kinetic.numpy() == pytest.approx(wanted.numpy(), rel=0.2)


def test_a_run_writes_frames_that_fit_and_where_its_walkers_are(frames, tmp_path, monkeypatch):
    np.savez(tmp_path / "field.npz", starts=frames[1][[1, 0]], **exported(frames[0]))
    words = ["--data", tmp_path, "--out", tmp_path / "out", "--device", "cpu", "--plain"]
    words += ["--ladders", 2, "--melting", 0.001, "--megabytes", 0.002]
    options = tempering.command_line().parse_args([str(word) for word in words])
    options.seconds = 8 + 5.0  # of which eight are for writing
    for name, value in (("EXCHANGE", 2), ("GRAPH", 1), ("DESCENT", 2)):
        monkeypatch.setattr(tempering, name, value)
    tempering.run(options)
    for name in ("training", "reference"):
        stored = np.load(tmp_path / "out" / f"{name}.npz")
        assert stored["positions"].shape == (1, 1, 138, 3)
        assert np.isfinite(stored["positions"]).all() and np.isfinite(stored["energies"]).all()
