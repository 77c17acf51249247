"""Trajectories that were made elsewhere become training sets and references."""

import mdtraj
import numpy as np
import pytest
from typer.testing import CliRunner

from molflow import cli
from molflow.comparison import find_reference
from molflow.data.dataset import load_training_data
from molflow.data.prepare import prepare
from molflow.errors import MolflowError
from molflow.files import read_json
from molflow.foreign_trajectories import gather
from molflow.md.energies import potential_energies
from molflow.systems import load_system

SYSTEM = load_system("alanine_dipeptide")
TOPOLOGY = SYSTEM.topology()
STATE = {"temperature": "300K", "frame_interval": "1ps"}


def frames(n, seed=0):
    rng = np.random.default_rng(seed)
    reference = find_reference("alanine_dipeptide").positions
    return reference[rng.integers(len(reference), size=n)]


def saved(path, xyz, topology=TOPOLOGY):
    mdtraj.Trajectory(xyz, topology).save(str(path))
    return path


@pytest.fixture
def top(tmp_path):
    return saved(tmp_path / "top.pdb", frames(1))


def test_three_files_are_three_runs(tmp_path, top):
    xyz = [frames(20, seed) for seed in range(3)]
    files = [saved(tmp_path / f"{k}.dcd", x) for k, x in enumerate(xyz)]
    folder = gather(files, "alanine_dipeptide", tmp_path / "md", top=top, **STATE)
    manifest = read_json(folder / "simulation.json")
    assert manifest["origin"] == "made elsewhere" and manifest["gap_frames"] == 0
    assert [entry["frames"] for entry in manifest["files"]] == [20, 20, 20]
    prepare(folder, tmp_path / "data")
    data = load_training_data(tmp_path / "data")
    centre = xyz[0] - xyz[0].mean(axis=1, keepdims=True)
    assert np.abs(data.train - centre).max() < 1e-5
    truth = find_reference(folder)
    assert truth.held_out_runs == (2,)
    energies = truth.energies[truth.replica == 1]
    assert energies == pytest.approx(potential_energies(SYSTEM, xyz[1]), abs=0.02)


def test_order_of_atoms_and_further_molecules_do_not_matter(tmp_path):
    """Atoms within residues in another order, behind two waters."""
    rng = np.random.default_rng(1)
    order = np.concatenate([
        rng.permutation([a.index for a in residue.atoms]) for residue in TOPOLOGY.residues
    ])  # fmt: skip
    shuffled = mdtraj.Topology()
    water = shuffled.add_residue("HOH", shuffled.add_chain())
    for name in ("O", "H1", "H2"):
        shuffled.add_atom(name, mdtraj.element.get_by_symbol(name[0]), water)
    chain, made = shuffled.add_chain(), {}
    for index in order:
        atom = TOPOLOGY.atom(index)
        residue = made.setdefault(atom.residue.index, None) or shuffled.add_residue(
            atom.residue.name, chain
        )
        made[atom.residue.index] = residue
        shuffled.add_atom(atom.name, atom.element, residue)
    xyz = frames(30)
    mixed = np.concatenate([np.full((30, 3, 3), 9.0, np.float32), xyz[:, order]], axis=1)
    files = [saved(tmp_path / f"{k}.h5", mixed[10 * k : 10 * k + 10], shuffled) for k in range(3)]
    folder = gather(files, SYSTEM, tmp_path / "md", **STATE)
    found = mdtraj.load(str(folder / "replica-1.dcd"), top=str(folder / "topology.pdb"))
    assert np.abs(found.xyz - xyz[10:20]).max() < 1e-6


def test_one_trajectory_is_cut_into_blocks_with_gaps(tmp_path, top):
    file = saved(tmp_path / "one.dcd", frames(200))
    folder = gather([file], SYSTEM, tmp_path / "md", top=top, energies=False, **STATE)
    manifest = read_json(folder / "simulation.json")
    gap = manifest["gap_frames"]
    assert manifest["replicas"] == 5 and 1 <= gap <= 4
    starts = [run["first_frame"] for run in manifest["runs"]]
    ends = [run["first_frame"] + run["frames"] for run in manifest["runs"]]
    assert starts == [0, 40, 80, 120, 160]
    assert ends == [40 - gap, 80 - gap, 120 - gap, 160 - gap, 200]
    assert "blocks of one trajectory know more of each other" in manifest["notes"][0]
    assert find_reference(folder).energies is None


def test_weights_go_with_their_frames(tmp_path, top):
    files = [saved(tmp_path / f"{k}.dcd", frames(10, k)) for k in range(3)]
    weights = np.random.default_rng(0).random(30)
    np.save(tmp_path / "w.npy", weights)
    folder = gather(files, SYSTEM, tmp_path / "md", top=top, weights=tmp_path / "w.npy", **STATE)
    stored = np.load(folder / "replica-2.npz")["log_weights"]
    assert np.exp(stored - stored[0]) == pytest.approx(weights[20:] / weights[20])


def test_frames_that_the_box_cuts_are_made_whole(tmp_path, top):
    xyz = frames(30)
    cut = xyz.copy()
    cut[:, 15:] += 3.0
    boxed = mdtraj.Trajectory(
        cut, TOPOLOGY, unitcell_lengths=np.full((30, 3), 3.0),
        unitcell_angles=np.full((30, 3), 90.0),
    )  # fmt: skip
    boxed.save(str(tmp_path / "cut.h5"))
    folder = gather([tmp_path / "cut.h5"] * 3, SYSTEM, tmp_path / "md", energies=False, **STATE)
    found = mdtraj.load(str(folder / "replica-0.dcd"), top=str(folder / "topology.pdb"))
    pairs = np.array([(a.index, b.index) for a, b in TOPOLOGY.bonds])
    lengths = [np.linalg.norm(x[:, pairs[:, 0]] - x[:, pairs[:, 1]], axis=-1)
               for x in (found.xyz, xyz)]  # fmt: skip
    assert np.abs(lengths[0] - lengths[1]).max() < 1e-5
    bare = saved(tmp_path / "cut.dcd", cut)
    with pytest.raises(MolflowError, match="30 of 30 frames .* have a bond longer than 0.3 nm"):
        gather([bare] * 3, SYSTEM, tmp_path / "other", top=top, **STATE)


def test_what_does_not_fit_is_a_sentence(tmp_path, top):
    good = saved(tmp_path / "good.dcd", frames(10))
    mirrored = saved(tmp_path / "mirrored.dcd", frames(10) * np.float32([1, 1, -1]))
    broken = frames(10)
    broken[4, 3] = np.nan
    nan = saved(tmp_path / "nan.dcd", broken)
    few = saved(tmp_path / "few.dcd", frames(4))
    heavy = TOPOLOGY.select("element != H")
    part = saved(tmp_path / "heavy.h5", frames(5)[:, heavy], TOPOLOGY.subset(heavy))
    for files, change, message in (
        ([good] * 3, {"temperature": "310K"}, "are of 310 K, and the system .* 300 K"),
        ([good] * 3, {"frame_interval": "0ps"}, "give a time above 0"),
        ([mirrored] * 3, {}, "10 of 10 frames .* another hand"),
        ([good, nan, good], {}, "1 of 10 frames .* not finite, the first is frame 4"),
        ([few], {}, "4 frames are too few to cut into 5 blocks"),
        ([part] * 3, {}, "first residue ACE1 H"),
        ([good, good], {"weights": np.ones(19)}, "19"),
    ):
        with pytest.raises(MolflowError, match=message):
            gather(files, SYSTEM, tmp_path / "md", top=top, **(STATE | change))
        assert not (tmp_path / "md").exists()


def test_two_copies_of_the_molecule_are_refused(tmp_path):
    both = TOPOLOGY.join(TOPOLOGY)
    file = saved(tmp_path / "two.h5", np.concatenate([frames(5), frames(5) + 3], axis=1), both)
    with pytest.raises(MolflowError, match="holds the molecule 'alanine_dipeptide' 2 times"):
        gather([file] * 3, SYSTEM, tmp_path / "md", **STATE)


def test_the_command_line(tmp_path, top):
    file = saved(tmp_path / "one.dcd", frames(100))
    words = ["prepare", file, "--top", top, "--out", tmp_path / "data"]
    result = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert result.exit_code == 2
    assert "give system and temperature and frame_interval" in result.stderr
    more = ["--system", "alanine_dipeptide:heavy", "--temperature", "300K"]
    words += [*more, "--frame-interval", "1ps"]
    result = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    data = load_training_data(tmp_path / "data")
    assert data.manifest["system"] == "alanine_dipeptide:heavy"
    assert data.train.shape[1:] == (10, 3)
    assert data.manifest["source"]["origin"] == "made elsewhere"
