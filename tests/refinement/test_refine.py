"""Refinement: to temperature, reproducible, resumable, and honest about what it leaves alone."""

import json
from functools import partial

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import unit

import molflow
from molflow.analysis.torsions import phi_psi
from molflow.errors import MolflowError
from molflow.files import read_arrays, write_arrays
from molflow.md.build import build
from molflow.md.energies import potential_energies
from molflow.refinement import pieces
from molflow.refinement.pieces import refine_positions
from molflow.refinement.refine import refine, walk_of
from molflow.seeds import derive_seed
from molflow.systems import load_system
from molflow.units import thermal_energy

SYSTEM = load_system("alanine_dipeptide")
KT = thermal_energy(300.0)


@pytest.fixture(scope="module")
def minimum():
    """The structure at a minimum of its energy, (n_atoms, 3)."""
    built, _ = build(SYSTEM)
    context = openmm.Context(
        built, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(SYSTEM.start_positions())
    openmm.LocalEnergyMinimizer.minimize(context, 0.1)
    state = context.getState(positions=True)
    return state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)


@pytest.fixture(scope="module")
def cold(minimum):
    """Seventy conformations at the minimum but for rounding: far too cold."""
    noise = np.random.default_rng(0).normal(size=(70, *minimum.shape))
    return minimum + 1e-5 * noise


@pytest.fixture(scope="module")
def walked(cold):
    return refine_positions(walk_of(SYSTEM, 200, seed=1), cold, jobs=1)


def test_vibrations_come_to_temperature(cold, walked):
    # Equipartition: a quadratic minimum of 3N - 6 modes has a mean energy of (3N - 6)/2 kT, sd of
    # the mean sqrt((3N - 6)/2/n) = 0.65 kT. Damped by 30/ps for 0.2 ps soft torsions stay behind.
    rise = (walked.energies - potential_energies(SYSTEM, cold)) / KT
    assert 25.0 < rise.mean() < 33.0
    assert not walked.blown_up.any() and not walked.descended.any()


def test_weak_friction_leaves_the_cold(cold):
    slow = refine_positions(walk_of(SYSTEM, 50, friction=0.1, seed=1), cold, jobs=1)
    # Half of the kinetic energy that the walkers were given, and nothing from the bath.
    rise = (slow.energies - potential_energies(SYSTEM, cold)) / KT
    assert rise.mean() < 20.0


def test_basins_stay(cold, walked):
    topology = SYSTEM.topology()
    before, after = (phi_psi(mdtraj.Trajectory(x, topology)) for x in (cold, walked.positions))
    turned = np.abs(np.angle(np.exp(1j * (after - before))))
    assert np.degrees(turned).max() < 90.0 and np.degrees(turned).mean() > 3.0


def test_energies_are_those_of_the_positions(walked):
    again = potential_energies(SYSTEM, walked.positions)
    assert np.abs(again - walked.energies).max() < 0.02  # positions in single precision


def test_processes_do_not_matter(cold, walked):
    apart = refine_positions(walk_of(SYSTEM, 200, seed=1), cold, jobs=2)
    assert np.array_equal(apart.positions, walked.positions)
    assert np.array_equal(apart.energies, walked.energies)


def test_seeds_and_pieces_matter(cold, walked):
    other = refine_positions(walk_of(SYSTEM, 200, seed=2), cold[:3], jobs=1)
    assert not np.allclose(other.positions, walked.positions[:3])
    twins = refine_positions(walk_of(SYSTEM, 20), np.repeat(cold[:1], 66, axis=0), jobs=1)
    assert len(np.unique(twins.energies)) == 66


def test_a_steep_start_is_led_down_first_and_an_impossible_one_stays(minimum):
    torn, broken = minimum.copy(), minimum.copy()
    torn[0] = torn[1] + 0.3 * (torn[0] - torn[1])
    broken[3] = np.nan
    with_both = refine_positions(walk_of(SYSTEM, 100), np.stack([minimum, torn, broken]), jobs=1)
    assert with_both.descended.tolist() == [False, True, False]
    assert with_both.blown_up.tolist() == [False, False, True]
    assert with_both.energies[1] - with_both.energies[0] < 60 * KT
    assert np.isinf(with_both.energies[2])
    assert np.array_equal(with_both.positions[2], broken.astype(np.float32), equal_nan=True)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    path = tmp_path_factory.mktemp("sampled") / "ensemble.dcd"
    molflow.sample("alanine_dipeptide", steps=2, n=70, out=path, progress=False)
    return path


def test_files_and_record(sampled, tmp_path):
    stored = read_arrays(sampled.with_suffix(".npz"))
    log_weights = np.linspace(0.0, 1.0, 70)
    write_arrays(sampled.with_suffix(".npz"), **stored, log_weights=log_weights)
    out = tmp_path / "refined.dcd"
    given = refine(sampled, out, steps=20, jobs=1, progress=False)
    record = json.loads(out.with_suffix(".json").read_text())
    assert "populations are the map's" in record["refined"]["statement"]
    assert record["plan"]["steps"] == 20 and record["plan"]["friction_per_ps"] == 30.0
    assert record["source"]["nfe"] == 2 and record["system"] == "alanine_dipeptide"
    arrays = read_arrays(out.with_suffix(".npz"))
    assert np.array_equal(arrays["log_weights"], log_weights)
    assert np.allclose(arrays["energies"], potential_energies(SYSTEM, given.xyz), atol=0.02)
    assert (tmp_path / "topology.pdb").read_bytes() == sampled.with_name(
        "topology.pdb"
    ).read_bytes()
    assert not list(tmp_path.glob(".*"))
    loaded = mdtraj.load(str(out), top=given.topology)
    assert np.allclose(loaded.xyz, given.xyz, atol=1e-6)


def test_weights_inside_a_trajectory_are_kept(tmp_path):
    """Those of an HDF5 file, which needs no record beside it."""
    tables = pytest.importorskip("tables")
    source, out = tmp_path / "weighted.h5", tmp_path / "refined.dcd"
    frames = np.repeat(SYSTEM.start_positions()[None], 3, axis=0)
    mdtraj.Trajectory(frames, SYSTEM.topology()).save(str(source))
    with tables.open_file(str(source), "a") as file:
        file.create_array("/", "log_weights", np.array([0.0, -1.0, -0.5]))
    refine(source, out, steps=2, system="alanine_dipeptide", jobs=1, progress=False)
    kept = read_arrays(out.with_suffix(".npz"))["log_weights"]
    assert np.array_equal(kept, [0.0, -1.0, -0.5])


def test_resumes_without_repeating(sampled, tmp_path, monkeypatch):
    whole = refine(sampled, steps=20, jobs=1, progress=False)
    out, done = tmp_path / "refined.dcd", []
    original = pieces.Walker.piece

    def stopping(self, index, starts):
        if done:
            raise KeyboardInterrupt
        done.append(index)
        return original(self, index, starts)

    monkeypatch.setattr(pieces.Walker, "piece", stopping)
    run = partial(refine, sampled, out, steps=20, jobs=1, progress=False)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not out.exists() and done == [0]

    def counting(self, index, starts):
        done.append(index)
        return original(self, index, starts)

    monkeypatch.setattr(pieces.Walker, "piece", counting)
    assert np.array_equal(run().xyz, whole.xyz)
    run()
    assert done == [0, 1]


def test_sample_refines_too(tmp_path):
    plain = molflow.sample("alanine_dipeptide", steps=2, n=20, progress=False)
    out = tmp_path / "ensemble.dcd"
    refined = molflow.sample(
        "alanine_dipeptide", steps=2, n=20, out=out, refine=50, progress=False
    )
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["plan"]["refine"]["steps"] == 50 and record["nfe"] == 2
    assert "populations are the map's" in record["refined"]["statement"]
    walk = walk_of(SYSTEM, 50, seed=derive_seed(0, "refine"))
    assert np.array_equal(refine_positions(walk, plain.xyz).positions, refined.xyz)
    stored = read_arrays(out.with_suffix(".npz"))["energies"]
    assert np.allclose(stored, potential_energies(SYSTEM, refined.xyz), atol=0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"friction": "0/ps"}, "friction is 0/ps"),
        ({"friction": "10 K"}, "not a rate"),
        ({"system": "alanine_dipeptide:beads6"}, "keeps only some atoms"),
        ({"system": "nothing"}, "no system 'nothing'"),
    ],
)
def test_refusals(sampled, options, words):
    with pytest.raises(MolflowError, match=words):
        refine(sampled, progress=False, **options)


def test_refuses_its_own_source_and_other_molecules(sampled, tmp_path):
    with pytest.raises(MolflowError, match="the ensemble itself"):
        refine(sampled, sampled, progress=False)
    trajectory = mdtraj.load(str(sampled), top=str(sampled.with_name("topology.pdb")))
    with pytest.raises(MolflowError, match="not recorded"):
        refine(trajectory, progress=False)
    with pytest.raises(MolflowError, match="need all of them"):
        refine(trajectory.atom_slice(range(10)), system="alanine_dipeptide", progress=False)
    with pytest.raises(MolflowError, match="nothing to refine with"):
        molflow.sample("alanine_dipeptide:beads5", n=2, refine=5, progress=False)


def test_a_walker_that_blows_up_is_named(sampled, tmp_path):
    trajectory = mdtraj.load(str(sampled), top=str(sampled.with_name("topology.pdb")))[:3]
    trajectory.xyz[1] = np.nan
    out = tmp_path / "refined.dcd"
    with pytest.warns(UserWarning, match="1 of 3 conformations could not be refined"):
        refine(trajectory, out, steps=5, system="alanine_dipeptide", progress=False)
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["refined"]["blown_up"] == [1]
