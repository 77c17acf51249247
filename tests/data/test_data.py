"""Training sets and references made of a tiny simulation."""

import shutil

import mdtraj
import numpy as np
import pytest

from molflow.analysis.reference import load_reference
from molflow.data.dataset import data_hash, load_training_data
from molflow.data.prepare import prepare
from molflow.data.reference import main, reference_from_simulation
from molflow.data.simulation import open_simulation
from molflow.data.split import split_runs
from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json, write_arrays, write_json
from molflow.md.energies import potential_energies
from molflow.md.simulate import simulate
from molflow.systems import load_system

PHI, PSI = [4, 6, 8, 14], [6, 8, 14, 16]


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    """Four runs of 20 frames."""
    out = tmp_path_factory.mktemp("simulation")
    simulate(
        "alanine_dipeptide",
        "1ps",
        replicas=4,
        out=out,
        frame_interval="50fs",
        equilibration="1ps",
        platform="Reference",
        progress=False,
    )
    return out


@pytest.fixture(scope="module")
def flattened(tmp_path_factory):
    """Three runs of 20 frames under a bias."""
    out = tmp_path_factory.mktemp("flattened")
    simulate(
        "alanine_dipeptide",
        "1ps",
        replicas=3,
        out=out,
        flatten="phi,psi",
        building="2ps",
        frame_interval="50fs",
        equilibration="1ps",
        platform="Reference",
        progress=False,
    )
    return out


def flattened_copy(flattened, tmp_path, ensemble_hash=None, delta_f_alpha_l=None):
    """A copy whose manifest says something else."""
    folder = tmp_path / "biased"
    shutil.copytree(flattened, folder)
    manifest = read_json(folder / "simulation.json")
    manifest["ensemble_hash"] = ensemble_hash or manifest["ensemble_hash"]
    manifest["flattened"]["delta_f_alpha_l"] = delta_f_alpha_l
    write_json(folder / "simulation.json", manifest)
    return folder


@pytest.fixture
def copied(simulation, tmp_path):
    """A copy that a test may spoil."""
    folder = tmp_path / "simulation"
    folder.mkdir()
    for path in simulation.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def frames_of(simulation, run):
    return mdtraj.load(simulation / f"replica-{run}.dcd", top=simulation / "topology.pdb")


def test_training_set_is_the_simulation_centred(simulation, tmp_path):
    manifest = prepare(simulation, tmp_path)
    data = load_training_data(tmp_path)
    assert data.manifest == manifest
    assert manifest["split"] == {"train": [0, 1], "validation": [2], "held_out": [3]}
    assert manifest["frames"] == {"train": 40, "validation": 20}
    assert data.train.dtype == np.float32 and data.train.shape == (40, 22, 3)
    assert np.abs(data.train.mean(axis=1)).max() < 1e-6
    raw = np.concatenate([frames_of(simulation, run).xyz for run in (0, 1)]).astype(np.float64)
    expected = raw - raw.mean(axis=1, keepdims=True)
    assert np.abs(data.train - expected).max() < 1e-6
    assert data.scale == pytest.approx(np.sqrt(np.mean(expected**2)), rel=1e-6)
    assert 0.1 < data.scale < 0.3
    assert manifest["source"] == read_json(simulation / "simulation.json")
    # Centring moves no energy, so the training set can be checked against the simulation's.
    energies = potential_energies(load_system("alanine_dipeptide"), data.validation)
    stored = read_arrays(simulation / "replica-2.npz")["energies"]
    assert np.abs(energies - stored).max() < 0.05


def test_held_out_frames_are_not_written(simulation, tmp_path):
    prepare(simulation, tmp_path, train=[3, 0], validation=[1])
    data = load_training_data(tmp_path)
    assert data.manifest["split"]["held_out"] == [2]
    written = np.concatenate([data.train, data.validation])
    for run in range(4):
        own = frames_of(simulation, run).xyz
        own = own - own.mean(axis=1, keepdims=True)
        gaps = np.abs(written[:, None] - own[None]).max(axis=(2, 3)).min(axis=0)
        assert (gaps.min() > 1e-3) if run == 2 else (gaps.max() < 1e-5)


def test_selection_is_centred_after_it_is_chosen(simulation, tmp_path):
    manifest = prepare(simulation, tmp_path, system="alanine_dipeptide:heavy")
    data = load_training_data(tmp_path)
    system = load_system("alanine_dipeptide:heavy")
    assert manifest["system"] == "alanine_dipeptide:heavy" and manifest["atoms"] == system.atoms
    raw = frames_of(simulation, 2).xyz[:, system.atoms]
    expected = raw - raw.mean(axis=1, keepdims=True)
    assert np.abs(data.validation - expected).max() < 1e-6


def test_prepare_again_gives_the_same_and_another_set_is_refused(simulation, tmp_path):
    first = prepare(simulation, tmp_path)
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert prepare(simulation, tmp_path) == first
    assert contents == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(MolflowError, match="another training set"):
        prepare(simulation, tmp_path, train=[0], validation=[1])


def test_damaged_training_sets_are_refused(simulation, tmp_path):
    with pytest.raises(MolflowError, match="no manifest.json"):
        load_training_data(tmp_path)
    manifest = prepare(simulation, tmp_path)
    positions = read_arrays(tmp_path / "train.npz")["positions"]
    changed = positions.copy()
    changed[0, 0, 0] += 1e-6
    write_arrays(tmp_path / "train.npz", positions=changed)
    with pytest.raises(MolflowError, match="hash"):
        load_training_data(tmp_path)
    write_arrays(tmp_path / "train.npz", positions=positions[1:])
    with pytest.raises(MolflowError, match="does not hold positions"):
        load_training_data(tmp_path)
    (tmp_path / "train.npz").write_bytes(b"not an archive")
    with pytest.raises(MolflowError, match="damaged"):
        load_training_data(tmp_path)
    del manifest["scale"]
    write_json(tmp_path / "manifest.json", manifest)
    with pytest.raises(MolflowError, match="lacks scale"):
        load_training_data(tmp_path)


def test_data_hash_knows_where_a_frame_is():
    x = np.random.default_rng(0).standard_normal((6, 2, 3)).astype(np.float32)
    assert data_hash(x) != data_hash(x[::-1])
    assert data_hash(x[:4]) != data_hash(x[:4].reshape(-1))
    assert data_hash(x[:4]) == data_hash(x[:4].copy())


def test_unusable_simulations_are_refused(copied, tmp_path):
    with pytest.raises(MolflowError, match="no simulation.json"):
        prepare(tmp_path, tmp_path / "data")
    trajectory = copied / "replica-0.dcd"
    content = bytearray(trajectory.read_bytes())
    content[-100] ^= 1
    trajectory.write_bytes(bytes(content))
    with pytest.raises(MolflowError, match="changed or damaged"):
        prepare(copied, tmp_path / "data")
    trajectory.unlink()
    with pytest.raises(MolflowError, match="has lost 'replica-0.dcd'"):
        prepare(copied, tmp_path / "data")
    manifest = read_json(copied / "simulation.json")
    write_json(copied / "simulation.json", manifest | {"ensemble_hash": "0" * 16})
    with pytest.raises(MolflowError, match="with the ensemble 0000"):
        prepare(copied, tmp_path / "data", system="alanine_dipeptide:heavy")
    write_json(copied / "simulation.json", manifest | {"status": "running"})
    with pytest.raises(MolflowError, match="not finished"):
        prepare(copied, tmp_path / "data")


@pytest.mark.parametrize("n_runs", [3, 4, 6, 9])
def test_default_split_uses_every_run_once(n_runs):
    split = split_runs(n_runs)
    assert [*split.train, *split.validation, *split.held_out] == list(range(n_runs))
    assert len(split.held_out) == max(1, n_runs // 3) and len(split.validation) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((2,), "at least 3"),
        ((4, [0], None), "give both"),
        ((4, [0, 1], [1]), "named only once"),
        ((4, [0, 0], [1]), "named only once"),
        ((4, [4], [1]), "runs 0 to 3"),
        ((4, [], [1]), "at least one"),
    ],
)
def test_wrong_splits_are_refused(arguments, sentence):
    with pytest.raises(MolflowError, match=sentence):
        split_runs(*arguments)


def test_reference_round_trip(simulation, flattened, tmp_path):
    stored = {"value": 3.5, "error": 0.1, "interval": [3.3, 3.7], "by_run": [3.4], "blocks": 20}
    biased = flattened_copy(flattened, tmp_path, delta_f_alpha_l=stored)
    arguments = [str(simulation), "--out", str(tmp_path / "reference"), "--thin", "7"]
    main([*arguments, "--held-out", "1,3", "--flattened", str(biased)])
    reference = load_reference(tmp_path / "reference")
    assert reference.delta_f_alpha_l["method"] == "static bias in phi and psi"
    assert reference.delta_f_alpha_l["plan"]["flattening"]["terms"] == [[PHI, PSI]]
    assert reference.log_weights is None
    assert reference.held_out_runs == (1, 3) and reference.runs == (0, 1, 2, 3)
    assert reference.delta_f_alpha_l["value"] == 3.5
    assert reference.ensemble_hash == load_system("alanine_dipeptide").ensemble_hash
    assert reference.position_frame.tolist() == [
        20 * run + i for run in range(4) for i in (0, 7, 14)
    ]
    assert len(reference.torsions) == 80
    # Stored torsions and energies belong to the stored positions.
    thinned = mdtraj.Trajectory(reference.positions, reference.topology)
    phi = mdtraj.compute_dihedrals(thinned, [[4, 6, 8, 14]])[:, 0]
    gap = phi - reference.torsions[reference.position_frame, 0]
    assert np.abs(np.sin(gap / 2)).max() < 1e-4
    energies = potential_energies(load_system("alanine_dipeptide"), reference.positions)
    assert np.abs(energies - reference.energies[reference.position_frame]).max() < 0.05


def test_weights_of_a_bias_go_into_the_reference(flattened, tmp_path):
    main([str(flattened), "--out", str(tmp_path), "--thin", "5"])
    reference = load_reference(tmp_path)
    runs = [read_arrays(flattened / f"replica-{run}.npz")["log_weights"] for run in range(3)]
    assert np.ptp(runs) > 0.1 and reference.log_weights.dtype == np.float64
    assert np.array_equal(reference.log_weights, np.concatenate(runs))
    assert np.array_equal(reference.select([2]).log_weights, runs[2])
    assert reference.delta_f_alpha_l is None  # it was never seen
    energies = potential_energies(load_system("alanine_dipeptide"), reference.positions)
    assert np.abs(energies - reference.energies[reference.position_frame]).max() < 0.05


def test_weights_of_a_bias_go_into_the_training_set(flattened, tmp_path):
    manifest = prepare(flattened, tmp_path)
    data = load_training_data(tmp_path)
    runs = [read_arrays(flattened / f"replica-{run}.npz")["log_weights"] for run in range(3)]
    assert manifest["split"] == {"train": [0], "validation": [1], "held_out": [2]}
    assert np.array_equal(data.train_log_weights, runs[0])
    assert np.array_equal(data.validation_log_weights, runs[1])
    weights = np.exp(runs[0]) / np.exp(runs[0]).sum()
    squares = np.mean(data.train.astype(np.float64) ** 2, axis=(1, 2))
    assert data.scale == pytest.approx(np.sqrt(weights @ squares), rel=1e-9)
    assert data.scale != pytest.approx(np.sqrt(squares.mean()), rel=1e-6)
    arrays = read_arrays(tmp_path / "train.npz")
    write_arrays(tmp_path / "train.npz", **arrays | {"log_weights": arrays["log_weights"] + 1e-3})
    with pytest.raises(MolflowError, match="hash"):
        load_training_data(tmp_path)
    write_arrays(tmp_path / "train.npz", positions=arrays["positions"])
    with pytest.raises(MolflowError, match="hash"):
        load_training_data(tmp_path)


def test_reference_defaults_and_refusals(simulation, flattened, tmp_path):
    assert reference_from_simulation(simulation).held_out_runs == (3,)
    with pytest.raises(MolflowError, match="thin is 0"):
        reference_from_simulation(simulation, thin=0)
    with pytest.raises(MolflowError, match="held_out is"):
        reference_from_simulation(simulation, held_out=[4])
    with pytest.raises(MolflowError, match="knows no free energy of alpha-L"):
        reference_from_simulation(simulation, flattened=flattened)
    other = flattened_copy(flattened, tmp_path, "other")
    with pytest.raises(MolflowError, match="another ensemble"):
        reference_from_simulation(simulation, flattened=other)


def test_simulation_folder_gives_times(simulation):
    source = open_simulation(simulation)
    assert source.trajectory(1).time[[0, -1]] == pytest.approx([0.05, 1.0])
