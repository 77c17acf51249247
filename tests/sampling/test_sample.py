"""`sample`: files, resuming, and what it refuses."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import mdtraj
import numpy as np
import pytest
import torch
from toy_maps import gaussian_map

import molflow
import molflow.sampling.ensemble as ensemble
from molflow.analysis.files.ensemble import read_ensemble
from molflow.errors import MolflowError
from molflow.files import read_arrays, sha256_of
from molflow.maps.denoiser.draw import start_positions
from molflow.maps.denoiser.probability_flow import ProbabilityFlow
from molflow.sampling.ensemble import sample
from molflow.seeds import derive_seed
from molflow.systems import load_system
from molflow.training.checkpoint import Checkpoint, load_checkpoint

FROZEN = Path(__file__).parent.parent / "data" / "checkpoint-v1"
SYSTEM = load_system("alanine_dipeptide")


def checkpoint_of(flow_map, folder, label="alanine_dipeptide") -> Checkpoint:
    """Dress a map as a trained one of alanine dipeptide, with all atoms."""
    folder.mkdir()
    shutil.copyfile(SYSTEM.structure_path, folder / "topology.pdb")
    description = {
        "system": label,
        "ensemble_hash": SYSTEM.ensemble_hash,
        "data_hash": "1" * 64,
        "split": {"train": [0, 1], "validation": [2], "held_out": [3]},
        "scale_nm": 0.2,
        "graph": {"elements": [0] * 22},
        "configuration": {"map": {"kind": "denoiser"}},
        "weights_sha256": "2" * 64,
    }
    return Checkpoint(flow_map.eval().requires_grad_(False), description, folder)


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gaussian") / "checkpoint"
    return checkpoint_of(gaussian_map(0.5), folder)


@pytest.fixture
def interrupted(monkeypatch):
    """Make the drawing of batches stop after one; return a function that undoes it."""
    original, left = ensemble.draw_blocks, [1]

    def drawing(*arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return original(*arguments)

    monkeypatch.setattr(ensemble, "draw_blocks", drawing)
    return lambda: left.__setitem__(0, 99)


def take(source, n=70, **options):
    return sample(source, n=n, progress=False, **{"steps": 2, **options})


@pytest.mark.parametrize("n", [1, 64, 70, 130])
def test_exactly_n(n):
    trajectory = take(FROZEN, n)
    assert trajectory.xyz.shape == (n, 6, 3) and trajectory.xyz.dtype == np.float32
    assert trajectory.time.tolist() == list(range(n))
    assert np.isfinite(trajectory.xyz).all()


def test_order_of_atoms_and_unit_of_length():
    checkpoint = load_checkpoint(FROZEN)
    trajectory = take(checkpoint)
    names = [(atom.residue.name, atom.name) for atom in trajectory.topology.atoms]
    assert names == [("ACE", "C"), ("ALA", "N"), ("ALA", "CA"), ("ALA", "CB"), ("ALA", "C"),
                     ("NME", "N")]  # fmt: skip
    drawn = ensemble.draw_blocks(checkpoint.flow_map, range(2), 2, 0, 6)[:70]
    assert np.allclose(trajectory.xyz, 0.125 * drawn.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 64, 100, 200])
def test_samples_do_not_depend_on_the_batch(batch_size):
    expected = take(FROZEN, 200).xyz
    assert np.abs(take(FROZEN, 200, batch_size=batch_size).xyz - expected).max() < 1e-5


def test_path_seeds_differ_and_repeat():
    first = take(FROZEN).xyz
    assert np.array_equal(first, take(FROZEN).xyz)
    assert np.abs(first - take(FROZEN, path_seed=1).xyz).max() > 0.01


def test_more_steps_on_the_same_paths_come_closer(gaussian):
    """Pathwise: each conformation by itself, not their distribution."""
    fine = take(gaussian, steps=64).xyz
    rmsd = [
        float(np.sqrt(((take(gaussian, steps=k).xyz - fine) ** 2).sum(-1).mean()))
        for k in (1, 2, 4, 8, 16)
    ]
    assert all(a > 1.5 * b for a, b in zip(rmsd[:-1], rmsd[1:], strict=True))
    size = float(np.sqrt((fine**2).sum(-1).mean()))
    assert rmsd[2] < 0.1 * size
    other = take(gaussian, steps=16, path_seed=1).xyz
    assert float(np.sqrt(((other - fine) ** 2).sum(-1).mean())) > size


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [(".dcd", 1e-6), (".h5", 1e-7), (".xtc", 5.1e-4), (".pdb", 5.1e-5)]
)
@pytest.mark.filterwarnings("ignore:XTC rounds")
def test_files_hold_what_is_returned(tmp_path, suffix, tolerance):
    out = tmp_path / "new" / f"ensemble{suffix}"
    returned = take(FROZEN, out=out)
    top = {"top": str(out.with_name("topology.pdb"))} if suffix in (".dcd", ".xtc") else {}
    read = mdtraj.load(str(out), **top)
    assert read.topology == returned.topology
    assert np.abs(read.xyz - returned.xyz).max() < tolerance
    names = {path.name for path in out.parent.iterdir()}
    assert names == {out.name, "ensemble.json", "topology.pdb"}
    # Asked again, it is read and not drawn; the file says the same.
    digest = sha256_of(out)
    again = take(FROZEN, out=out)
    assert np.abs(again.xyz - returned.xyz).max() < tolerance
    assert again.n_frames == 70 and sha256_of(out) == digest
    # Drawn anew elsewhere, it is the same file; HDF5 notes the time of writing.
    if suffix != ".h5":
        take(FROZEN, out=tmp_path / f"again{suffix}")
        assert sha256_of(tmp_path / f"again{suffix}") == digest


def test_xtc_warns_of_its_rounding(tmp_path):
    with pytest.warns(UserWarning, match="XTC rounds positions to 0.001 nm"):
        take(FROZEN, out=tmp_path / "ensemble.xtc")


def test_record_beside_the_trajectory(tmp_path):
    out = tmp_path / "ensemble.dcd"
    take(FROZEN, out=out, steps=3, path_seed=5)
    record = json.loads((tmp_path / "ensemble.json").read_text())
    checkpoint = load_checkpoint(FROZEN)
    assert (record["n"], record["nfe"], record["plan"]["path_seed"]) == (70, 3, 5)
    assert record["system"] == "alanine_dipeptide:beads6"
    assert record["ensemble_hash"] == checkpoint.description["ensemble_hash"]
    assert record["training_replicas"] == [0]
    assert record["checkpoint"]["weights_sha256"] == checkpoint.weights_hash
    assert record["trajectory_sha256"] == sha256_of(out)
    # and the reader of ensembles finds it to belong to the file
    given = read_ensemble(out, out.with_name("topology.pdb"))
    assert given.record == record and given.notes == []
    assert given.n == 70


def test_energies_are_those_of_the_unrounded_positions(tmp_path, gaussian):
    from molflow.md.energies import potential_energies

    returned = take(gaussian, 3, out=tmp_path / "ensemble.pdb")
    stored = read_arrays(tmp_path / "ensemble.npz")["energies"]
    assert stored == pytest.approx(potential_energies(SYSTEM, returned.xyz), rel=1e-4)
    assert read_ensemble(tmp_path / "ensemble.pdb", None).energies == pytest.approx(stored)


def test_samples_that_are_not_finite_are_kept_and_have_infinite_energy(
    tmp_path, gaussian, monkeypatch
):
    original = ensemble.draw_blocks

    def broken(*arguments):
        drawn = original(*arguments)
        drawn[1, 3] = float("nan")
        return drawn

    monkeypatch.setattr(ensemble, "draw_blocks", broken)
    returned = take(gaussian, 3, out=tmp_path / "ensemble.dcd")
    assert returned.n_frames == 3
    energies = read_arrays(tmp_path / "ensemble.npz")["energies"]
    assert np.isfinite(energies).tolist() == [True, False, True] and energies[1] == np.inf
    with pytest.raises(MolflowError, match="cannot hold these positions .*NaN.*: choose .dcd"):
        take(gaussian, 3, out=tmp_path / "ensemble.pdb")
    assert not (tmp_path / "ensemble.pdb").exists()


def test_energies_of_another_ensemble_do_not_stay_behind(tmp_path, gaussian):
    out = tmp_path / "ensemble.dcd"
    take(gaussian, 2, out=out)
    assert (tmp_path / "ensemble.npz").exists()
    take(gaussian, 2, out=out, path_seed=1, energies=False)
    assert not (tmp_path / "ensemble.npz").exists()
    take(gaussian, 2, out=out, path_seed=1)
    assert (tmp_path / "ensemble.npz").exists()


def test_an_interrupted_run_resumes_to_the_same_files(tmp_path, interrupted):
    options = {"n": 200, "batch_size": 64}
    out = tmp_path / "ensemble.dcd"
    with pytest.raises(KeyboardInterrupt):
        take(FROZEN, out=out, **options)
    parts = tmp_path / ".ensemble.dcd.parts"
    assert {path.name for path in parts.iterdir()} == {"plan.json", "blocks-0000000.npy"}
    assert [path.name for path in tmp_path.iterdir()] == [parts.name]  # no half-written file
    first = np.load(parts / "blocks-0000000.npy")
    interrupted()
    resumed = take(FROZEN, out=out, **options)
    assert np.array_equal(resumed.xyz[:64], first)
    assert not parts.exists()
    whole = tmp_path / "whole" / "ensemble.dcd"
    take(FROZEN, out=whole, **options)
    for name in ("ensemble.dcd", "topology.pdb"):
        assert (tmp_path / name).read_bytes() == (whole.parent / name).read_bytes()


def test_batches_of_another_request_are_not_used(tmp_path, interrupted):
    out = tmp_path / "ensemble.dcd"
    with pytest.raises(KeyboardInterrupt):
        take(FROZEN, 200, out=out, batch_size=64)
    interrupted()
    other = take(FROZEN, 200, out=out, batch_size=64, path_seed=1)
    assert np.array_equal(other.xyz, take(FROZEN, 200, batch_size=64, path_seed=1).xyz)


def test_parts_that_a_process_killed_at_its_end_has_left_go(tmp_path):
    out = tmp_path / "ensemble.dcd"
    take(FROZEN, out=out)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / ".ensemble.dcd.parts").mkdir()
    take(FROZEN, out=out)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_without_a_record_is_the_users(tmp_path):
    out = tmp_path / "ensemble.dcd"
    out.write_bytes(b"mine")
    with pytest.raises(MolflowError, match="no record says that it was made here"):
        take(FROZEN, out=out)
    assert out.read_bytes() == b"mine" and len(list(tmp_path.iterdir())) == 1


def test_a_changed_file_is_drawn_again(tmp_path):
    out = tmp_path / "ensemble.dcd"
    take(FROZEN, out=out)
    good = out.read_bytes()
    out.write_bytes(good[:-100])
    take(FROZEN, out=out)
    assert out.read_bytes() == good


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n": 0}, "n is 0: it must be a whole number, at least 1"),
        ({"n": -3}, "n is -3"),
        ({"n": 2.5}, "n is 2.5"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": -1}, "steps is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"precision": "half"}, "precision is 'half': choose float32 or bfloat16"),
        ({"device": "gpu"}, "device is 'gpu': choose auto, cpu, cuda or cuda:N"),
        ({"device": "meta"}, "device is 'meta': choose auto, cpu, cuda or cuda:N"),
        ({"device": "mps"}, "device is 'mps', which has no double precision"),
        ({"device": "cuda:99"}, "device is 'cuda:99', and torch sees"),
        ({"name": "ensemble.gro"}, "is '.gro': choose one of .dcd, .h5, .xtc, .pdb"),
        ({"name": "ensemble"}, "is '': choose one of"),
        ({"name": "file/ensemble.dcd"}, "cannot write in the folder"),
    ],
)
def test_impossible_requests_are_sentences_and_leave_nothing(tmp_path, options, sentence):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / options.pop("name", "ensemble.dcd")
    with pytest.raises(MolflowError) as error:
        take(FROZEN, **{"out": out, "n": 10, **options})
    assert sentence in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_products_in_bfloat16_keep_the_conformation_and_are_told(tmp_path):
    out = tmp_path / "ensemble.dcd"
    exact = take(SYSTEM.name, 64)
    rounded = take(SYSTEM.name, 64, out=out, precision="bfloat16", energies=False)
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["plan"]["precision"] == "bfloat16"
    apart = np.linalg.norm(exact.xyz - rounded.xyz, axis=-1)
    assert 0 < np.median(apart) < 1e-3  # nm, after two jumps
    bonds = [[one.index, other.index] for one, other in exact.topology.bonds]
    lengths = [mdtraj.compute_distances(found, bonds) for found in (exact, rounded)]
    assert np.abs(lengths[0] - lengths[1]).mean() < 5e-4


def test_machine_code_is_of_a_copy_and_for_one_size_of_batch(monkeypatch):
    checkpoint, seen = load_checkpoint(FROZEN), []
    network = type(checkpoint.flow_map.network)
    monkeypatch.setattr(network, "compile", lambda own, **options: seen.append((own, options)))
    plain = take(checkpoint, 180, batch_size=128)
    real = network.forward

    def counted(own, x, *rest):
        seen.append(len(x))
        return real(own, x, *rest)

    monkeypatch.setattr(network, "forward", counted)
    compiled = take(checkpoint, 180, batch_size=128, compiled=True)
    (copied, options), *sizes = seen
    assert copied is not checkpoint.flow_map.network and options == {"dynamic": False}
    assert set(sizes) == {128}  # the last block was filled up
    assert np.array_equal(plain.xyz, compiled.xyz)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_a_sentence():
    with pytest.raises(MolflowError, match="device is 'cuda', and torch sees 0 GPUs"):
        take(FROZEN, device="cuda")


def test_the_files_of_the_checkpoint_are_safe(tmp_path):
    folder = Path(shutil.copytree(FROZEN, tmp_path / "checkpoint"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(MolflowError, match="in the folder of the checkpoint"):
        take(folder, out=folder / "model.dcd")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_progress(capsys):
    sample(FROZEN, n=10, steps=1, progress=True)
    assert "sampling at 1 network calls" in capsys.readouterr().out
    sample(FROZEN, n=10, steps=1, progress=False)
    assert capsys.readouterr().out == ""


def test_flow_goes_from_the_same_starts_without_paths(tmp_path):
    checkpoint = load_checkpoint(FROZEN)
    out = tmp_path / "flow.dcd"
    flowed = take(checkpoint, 70, flow=True, out=out)
    flow = ProbabilityFlow(checkpoint.flow_map, checkpoint.flow_map.clock.grid(2))
    starts = [
        start_positions(checkpoint.flow_map, 64, 6, derive_seed(0, "block", k)) for k in (0, 1)
    ]
    wanted = checkpoint.scale * flow(torch.cat(starts))[:70]
    assert np.allclose(flowed.xyz, wanted.numpy(), atol=1e-6)
    assert json.loads(out.with_suffix(".json").read_text())["plan"]["flow"] is True
    assert not np.allclose(take(checkpoint, 70).xyz, flowed.xyz, atol=1e-3)


def test_no_batch_is_begun_that_time_has_no_room_for(tmp_path):
    """One batch of 64 is drawn whatever it takes; they are the first of those without a clock."""
    timed = {"batch_size": 64, "out": tmp_path / "some.dcd", "seconds": 1e-3}
    assert take(FROZEN, 640, load=False, **timed) == tmp_path / "some.dcd"
    some = take(FROZEN, 640, **timed)  # finished, and read
    record = json.loads((tmp_path / "some.json").read_text())
    assert record["n"] == len(some.xyz) == 64 and record["plan"]["n"] == 640
    assert np.abs(some.xyz - take(FROZEN, 64).xyz).max() < 1e-6
    assert len(take(FROZEN, 130, batch_size=64, seconds=600.0).xyz) == 130


def test_energies_that_take_too_long_are_left_out_and_said(gaussian, tmp_path, monkeypatch):
    def slow(system, positions, jobs=None):
        clock[0] += 2.0 * len(positions)
        return np.zeros(len(positions))

    clock = [0.0]
    dear = SimpleNamespace(potential="some")
    monkeypatch.setattr("molflow.sampling.pace.force_field_of", lambda _: dear)
    monkeypatch.setattr("molflow.sampling.pace.time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr("molflow.md.energies.potential_energies", slow)
    out = tmp_path / "a.dcd"
    take(gaussian, 640, batch_size=64, out=out, seconds=100.0)
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["energies_left_out"].startswith(
        "Energies were left out: those of 64 conformations would take 128 s, and 100 s"
    )
    # Drawing takes no time by this clock, and without energies all of them fit in.
    assert record["n"] == 640 and not out.with_suffix(".npz").exists()
    assert "no_energies" not in record
    with monkeypatch.context() as without:
        without.setattr("molflow.md.energies.EnergyWorkers", None)  # none are computed instead
        judged = molflow.compare(out, "alanine_dipeptide", exact_transport=False)
    assert record["energies_left_out"] in judged["notes"]
    assert "energy_w1" not in judged["metrics"]
    take(gaussian, 640, batch_size=64, out=tmp_path / "b.dcd", seconds=300.0)
    assert json.loads((tmp_path / "b.json").read_text())["n"] == 128  # 128 s each
