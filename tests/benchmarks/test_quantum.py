"""The benchmark of quantum chemistry: its surrogate, free energies and costs of known answer."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openmm
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import quantum_balance  # noqa: E402
import quantum_labels  # noqa: E402
from quantum import CELLS, costs, free_energies, ramachandran  # noqa: E402
from quantum_surrogate import add_formula, surrogate  # noqa: E402
from quantum_walks import extremes, memory, single_modes  # noqa: E402

from molflow.analysis.kinetics.temperatures import masses_of  # noqa: E402
from molflow.brownian.basis import Basis  # noqa: E402
from molflow.data.dataset import load_training_data  # noqa: E402
from molflow.md.build import make_simulation  # noqa: E402
from molflow.md.energies import evaluate  # noqa: E402
from molflow.md.labelled_set import LabelledFrames, write_labelled  # noqa: E402
from molflow.propagation.paths import ChainPaths  # noqa: E402
from molflow.systems import load_system  # noqa: E402
from molflow.training.checkpoint import load_checkpoint  # noqa: E402
from molflow.valence.fit import fit_valence  # noqa: E402
from molflow.valence.force import ValenceForce  # noqa: E402

SYSTEM = load_system("alanine_dipeptide")


def shaken(count):
    generator = np.random.default_rng(0)
    start = SYSTEM.start_positions().astype(float)
    return start + 0.004 * generator.standard_normal((count, *start.shape))


def test_openmm_and_torch_say_the_same_of_a_formula():
    frames, topology = shaken(60), SYSTEM.topology()
    forces = evaluate(SYSTEM, frames, jobs=1).forces
    numbers = [atom.element.atomic_number for atom in topology.atoms]
    bonds = [(a.index, b.index) for a, b in topology.bonds]
    formula = fit_valence(numbers, bonds, frames, forces).formula
    system = openmm.System()
    for _ in numbers:
        system.addParticle(1.0)
    add_formula(system, formula)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    module = ValenceForce(formula, len(numbers)).double()
    for frame in frames[:3]:
        context.setPositions(frame)
        state = context.getState(energy=True, forces=True)
        x = torch.from_numpy(frame)[None]
        assert state.getPotentialEnergy()._value == pytest.approx(float(module.energy(x)), abs=1e-8)
        found = state.getForces(asNumpy=True)._value
        np.testing.assert_allclose(found, module(x)[0].numpy(), atol=1e-7)


def test_a_surrogate_takes_the_place_of_bonded_terms(tmp_path):
    """Of the same force field: what it cannot say is little, and couplings are none."""
    frames = shaken(80)
    forces = evaluate(SYSTEM, frames, jobs=1).forces
    system, near = surrogate(SYSTEM, frames, forces, tmp_path / "cheap")
    assert near["rest"] < 0.02 * near["force"]
    again = evaluate(system, frames[:4], jobs=1)
    assert np.sqrt(np.mean((again.forces - forces[:4]) ** 2)) < 0.02 * near["force"]


def test_free_energies_of_weighted_basins():
    rng = np.random.default_rng(1)
    # Half of the frames in αL, with a tenth of the weight of the others.
    runs = [np.where(rng.random((400, 1)) < 0.5, [[1.0, 0.5]], [[-1.5, 2.5]]) for _ in range(3)]
    logs = [np.where(run[:, 0] > 0, np.log(0.1), 0.0) for run in runs]
    found = free_energies(runs, logs)
    counts = sum((run[:, 0] > 0).sum() for run in runs)
    expected = np.log((1200 - counts) / (0.1 * counts))
    assert found["alpha_l"]["value"] == pytest.approx(expected)
    assert found["beta"]["share"] + found["alpha_l"]["share"] == pytest.approx(1.0)
    low, high = found["alpha_l"]["interval"]
    assert low < np.log(10.0) < high and found["alpha_r"]["value"] is None


def test_costs_of_independent_conformations():
    rate = {"xtb_md": 0.1, "map_256": 20.0, "map_1": 1.0}
    parts = {
        "chains": {
            "memory": {"slowest": {"value": 36.0, "interval": [18.0, 72.0]}},
            "length_ps": 500.0,
        },
        "speed": {"femtoseconds_a_core_millisecond": rate},
    }
    options = SimpleNamespace(exploring=720.0, labels=180.0, training=3600.0)
    found = costs(options, parts)
    # 36 ps times 1,000 are 3.6e7 fs: 100 hours at 10 ms a femtosecond.
    assert found["xtb_md_core_hours"] == pytest.approx(100.0)
    assert found["map_core_hours"]["chains"] == pytest.approx(0.5)
    assert found["total_speedup"] == pytest.approx(100.0 / (0.2 + 0.05 + 1.0 + 0.5))
    assert found["total_speedup_interval"] == pytest.approx([50.0 / 1.5, 200.0 / 2.25])
    assert found["pays_from_conformations"] == pytest.approx(1000 * 1.25 / 99.5)
    parts["chains"]["cpu_seconds"] = 1800.0
    noisy = costs(options, parts | {"chains_balanced": {}})
    assert noisy["total_speedup"] == pytest.approx(100.0 / (1.25 + 0.5 + 0.5))
    parts["chains"]["length_ps"] = 300.0
    assert costs(options, parts) is None and costs(options, {"speed": parts["speed"]}) is None


def test_memory_of_chains_is_that_of_the_slowest_wave():
    """x -> ρ x + noise has the memory (1 + ρ)/(1 − ρ); what is small changes sines alone."""
    generator, rho = np.random.default_rng(3), 0.8
    x = np.zeros((40, 500, 2))
    noise = 0.05 * generator.standard_normal(x.shape)
    for step in range(1, 500):
        x[:, step, 0] = rho * x[:, step - 1, 0] + noise[:, step, 0]
        x[:, step, 1] = noise[:, step, 1]
    found = memory(x.reshape(-1, 2), np.repeat(np.arange(40), 500), 0.5)
    expected = 0.5 * (1 + rho) / (1 - rho)
    assert found["by_function"]["sin phi"] == pytest.approx(expected, rel=0.1)
    assert found["by_function"]["sin psi"] == pytest.approx(0.5, rel=0.1)
    assert found["slowest"]["value"] == max(found["by_function"].values())
    low, high = found["slowest"]["interval"]
    assert 0.8 * expected < low < expected < high < 1.25 * expected


def test_single_motions_have_their_own_temperature():
    """Thermal velocities at 300 K, but for one hydrogen at a fourth of that."""
    topology, masses = SYSTEM.topology(), masses_of(SYSTEM.topology())
    spread = np.sqrt(0.00831446 * 300.0 / masses)[:, None]
    velocities = spread * np.random.default_rng(0).standard_normal((3000, 22, 3))
    names = [str(atom) for atom in topology.atoms]
    velocities[:, names.index("ALA2-H")] *= 0.5
    frames = np.repeat(SYSTEM.start_positions()[None], 3000, axis=0)
    table = single_modes(frames, velocities, topology, np.repeat(np.arange(30), 100))
    cold = "bond ALA2-N ALA2-H"
    light, heavy = (1.0 / masses[names.index(name)] for name in ("ALA2-H", "ALA2-N"))
    expected = 300.0 * (0.25 * light + heavy) / (light + heavy)
    assert abs(table[cold]["value"] - expected) < 4.0 * table[cold]["error"]
    carbonyl = table["bond ALA2-C ALA2-O"]
    assert abs(carbonyl["value"] - 300.0) < 4.0 * carbonyl["error"] < 50.0
    assert extremes(table)["coldest"] == {"mode": cold} | table[cold]
    assert extremes(table)["hottest"]["value"] == max(one["value"] for one in table.values())


def test_cells_of_the_torsions_have_their_weights():
    torsions = np.array([[-3.1, 3.1], [0.01, -0.01], [0.01, -0.01]])
    shares = np.array(ramachandran(torsions, np.log([6.0, 1.0, 1.0])))
    assert shares.shape == (CELLS, CELLS) and shares.sum() == pytest.approx(1.0)
    assert shares[0, -1] == pytest.approx(0.75)
    assert shares[CELLS // 2, CELLS // 2 - 1] == pytest.approx(0.25)


def test_a_map_without_a_network_neither_heats_nor_cools(monkeypatch):
    """Its force is the gradient of the formula, and its step follows it to fourth order."""
    monkeypatch.setattr(quantum_balance, "ALONE", 0.08)
    monkeypatch.setattr(quantum_balance, "FINEST", 0.5)
    checkpoint = load_checkpoint("alanine_dipeptide_gfn2:dynamics")
    torch.nn.init.zeros_(checkpoint.flow_map.network.last)
    starts = np.repeat(SYSTEM.start_positions()[None], 8, axis=0)
    found = quantum_balance.balance(checkpoint.flow_map, SYSTEM, starts, 20.0, 1)
    step = found["by_a_step"]
    assert set(step) == {"atoms", "C", "H", "N", "O", "bond", "angle", "torsion", "energy"}
    assert all(abs(one["value"]) < 4.0 * one["error"] + 3.0 for one in step.values())
    assert abs(step["atoms"]["value"]) < 3.0
    # Of the fourth order, so next to nothing.
    assert 0.0 <= found["by_residual_noise"]["value"] < 1.0
    assert found["chains"] == {"by_a_step": 8, "by_the_force": 2}


def test_the_whole_energy_stays_and_paths_turn_round():
    """Newton's equations keep it, while kinetic energy and potential take turns."""
    simulation = make_simulation(SYSTEM, 300.0, 1, "Reference")
    # Its velocities are half a step behind.
    verlet = openmm.VerletIntegrator(5e-6)
    context = openmm.Context(simulation.system, verlet, simulation.context.getPlatform())
    context.setPositions(shaken(1)[0])
    context.setVelocitiesToTemperature(300.0, 1)
    states = []
    for _ in range(4):
        verlet.step(600)
        state = context.getState(positions=True, velocities=True)
        pair = state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value
        states.append(np.stack(pair))
    states = np.array(states)
    kinetic = quantum_balance.groups_of(SYSTEM.topology(), states)["atoms"]
    assert np.ptp(kinetic) > 20.0 > 20.0 * np.ptp(quantum_balance.energies(SYSTEM, states))
    paths = ChainPaths(Basis(3), 2, 4, 0)
    one, other = (way.increment(0.0, 0.02) for way in (paths, quantum_balance.Turned(paths)))
    assert torch.equal(other.features, -one.features) and other.h == one.h


def test_noise_adds_the_energy_that_springs_say():
    generator = np.random.default_rng(0)
    states, off = 0.01 * generator.standard_normal((2, 5, 2, 22, 3))
    stiffness = torch.arange(1.0, 23.0)[:, None]
    springs = SimpleNamespace(
        force=lambda x: -stiffness * x, parameters=lambda: iter([torch.zeros(1)])
    )
    found = quantum_balance.added_by(springs, SYSTEM.topology(), states, off)
    masses = masses_of(SYSTEM.topology())
    squares = np.square(off).sum(-1)
    energy = 0.5 * (squares[:, 1] @ masses + squares[:, 0] @ np.arange(1.0, 23.0))
    np.testing.assert_allclose(found, energy / (33.0 * 0.00831446), rtol=1e-4)


def test_few_labels_are_drawn_of_both_kinds_and_no_validation_frame(tmp_path):
    generator = np.random.default_rng(0)

    def labelled(count):
        frames = (SYSTEM.start_positions() + generator.normal(0, 1e-3, (count, 22, 3))).astype("f4")
        frames -= frames.mean(axis=1, keepdims=True)
        return LabelledFrames(frames, 10.0 * frames, generator.normal(size=count))

    sets = {"train": labelled(30), "hot": labelled(10), "validation": labelled(4)}
    options = {"plan": {"count": 44}, "split": {"train": [0], "validation": [1], "held_out": []}}
    write_labelled(tmp_path, SYSTEM, sets, hot_temperature=600.0, **options)
    found = quantum_labels.some_of(load_training_data(tmp_path), 12, 0)
    assert {name: len(kept.positions) for name, kept in found.items()} == {
        "train": 9, "hot": 3, "validation": 4,
    }  # fmt: skip
    for name, kept in found.items():
        at = [int(np.flatnonzero((sets[name].positions == one).all((1, 2)))[0])
              for one in kept.positions]  # fmt: skip
        assert len(set(at)) == len(at)
        np.testing.assert_array_equal(kept.forces, sets[name].forces[at])
        np.testing.assert_allclose(kept.energies, sets[name].energies[at])


def test_the_error_of_a_force_is_none_of_its_own():
    checkpoint, frames = "alanine_dipeptide_gfn2:dynamics", shaken(6).astype("f4")
    with torch.no_grad():
        own = load_checkpoint(checkpoint).flow_map.force(torch.from_numpy(frames)).numpy()
    found = quantum_labels.force_error(checkpoint, frames, own + 3.0)
    assert found["force_error"] == pytest.approx(3.0, abs=0.01)
    assert found["formula_error"] > 10.0
