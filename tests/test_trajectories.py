"""Trajectories and arrays that are written in pieces are those written at once."""

import mdtraj
import numpy as np
import pytest

import molflow.trajectories as trajectories
from molflow.errors import MolflowError
from molflow.files import Streamed, read_arrays, write_arrays
from molflow.systems import load_system

SYSTEM = load_system("alanine_dipeptide")


@pytest.mark.parametrize("extension", trajectories.EXTENSIONS)
def test_pieces_make_the_file_that_mdtraj_makes(tmp_path, monkeypatch, extension):
    monkeypatch.setattr(trajectories, "PIECE", 7 * 66)
    topology = SYSTEM.topology()
    rng = np.random.default_rng(0)
    positions = rng.normal(SYSTEM.start_positions(), 0.01, (20, 22, 3)).astype(np.float32)
    own, other = tmp_path / f"own{extension}", tmp_path / f"other{extension}"
    trajectories.write_trajectory(own, positions, topology)
    assert [len(piece) for piece in trajectories.in_pieces(positions)] == [7, 7, 6]
    whole = mdtraj.Trajectory(positions, topology, time=np.arange(20.0))
    whole.save(str(other))
    if extension == ".dcd":
        trajectories.finish_dcd(other, 1.0)
    if extension != ".h5":  # which notes when it was written
        assert own.read_bytes() == other.read_bytes()
    bare = {"top": topology} if extension in (".dcd", ".xtc") else {}
    found, expected = (mdtraj.load(str(path), **bare) for path in (own, other))
    np.testing.assert_array_equal(found.xyz, expected.xyz)
    np.testing.assert_array_equal(found.time, expected.time)
    assert found.topology == expected.topology


def test_streamed_arrays_are_arrays(tmp_path):
    values = np.random.default_rng(0).normal(size=(10, 2, 3)).astype(np.float32)
    streamed = Streamed(values.shape, values.dtype, np.split(values, [3, 9]))
    write_arrays(tmp_path / "a.npz", first=np.arange(4), values=streamed)
    found = read_arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["values"], values)
    np.testing.assert_array_equal(found["first"], np.arange(4))
    assert list(found) == ["first", "values"]


def test_a_topology_beside_is_kept_or_refused(tmp_path):
    topology, out = SYSTEM.topology(), tmp_path / "a.dcd"
    trajectories.check_topology(out, topology)
    trajectories.write_topology(out, SYSTEM.structure_path)
    kept = (tmp_path / "topology.pdb").read_bytes()
    assert kept == SYSTEM.structure_path.read_bytes()
    moved = mdtraj.Trajectory(SYSTEM.start_positions() + 1.0, topology)
    moved.save_pdb(str(tmp_path / "other.pdb"))
    trajectories.check_topology(out, topology)
    trajectories.write_topology(out, tmp_path / "other.pdb")
    assert (tmp_path / "topology.pdb").read_bytes() == kept
    with pytest.raises(MolflowError, match="topology.pdb' is there and is not of the atoms"):
        trajectories.check_topology(out, topology.subset(range(21)))
