"""`molflow propagate` with maps whose answers are known: files, resuming, watching, refusing."""

import json
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
import torch
from counting import DEVICE, counted
from harmonic_map import MASS, REST, SYSTEM, HarmonicMap, thermal_state
from typer.testing import CliRunner

import molflow
import molflow.propagation.propagate as verb
from molflow.analysis.files.ensemble import read_ensemble
from molflow.analysis.kinetics.time_series import time_ordered
from molflow.cli import app
from molflow.comparison import find_reference
from molflow.errors import MolflowError
from molflow.files import read_arrays
from molflow.maps.dynamics.scales import LangevinScales
from molflow.maps.langevin.configuration import LangevinConfig
from molflow.maps.langevin.residual_noise import ResidualNoise, frame_neighbours
from molflow.maps.overdamped.configuration import OverdampedConfig
from molflow.md.energies import potential_energies
from molflow.nn.dense_attention import DenseConfig
from molflow.nn.graph import MolecularGraph
from molflow.propagation.chains import Chains, Wanted
from molflow.propagation.motion import Motion
from molflow.propagation.paths import ChainResiduals
from molflow.propagation.record import summary
from molflow.propagation.request import Request
from molflow.propagation.watch import Watch
from molflow.sampling.pool import Workplace
from molflow.training.checkpoint import Checkpoint
from molflow.training.kinds import build_flow_map
from molflow.units import GAS_CONSTANT, thermal_energy

OPTIONS = {"chains": 6, "save": "0.1ps", "progress": False}


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    frame = mdtraj.Trajectory(REST.numpy(), SYSTEM.topology())
    for path in (folder, tmp_path):
        frame.save_pdb(str(path / "topology.pdb"))
    states = thermal_state(HarmonicMap(), 6)[:, 0].numpy()
    mdtraj.Trajectory(states, SYSTEM.topology()).save_dcd(str(tmp_path / "start.dcd"))
    description = {
        "system": "alanine_dipeptide", "ensemble_hash": SYSTEM.ensemble_hash, "data_hash": "none",
        "split": {"train": [], "validation": [], "held_out": [0]}, "weights_sha256": "harmonic",
        "graph": {"elements": [6] * 22}, "dynamics": {},
        "configuration": {"map": {"kind": "langevin"}},
    }  # fmt: skip
    return Checkpoint(HarmonicMap(), description, folder)


def propagated(checkpoint, tmp_path, name="run", time="4ps", lag="20fs", start=None, **options):
    out = tmp_path / name / "run.dcd"
    start = tmp_path / "start.dcd" if start is None else start
    return molflow.propagate(checkpoint, start, time, lag, out, **OPTIONS | options), out


def test_frames_at_equal_times_one_chain_after_the_other(checkpoint, tmp_path):
    trajectory, out = propagated(checkpoint, tmp_path)
    assert trajectory.xyz.shape == (240, 22, 3)
    np.testing.assert_allclose(trajectory.time[:40], 0.1 * np.arange(1, 41), rtol=1e-6)
    np.testing.assert_allclose(trajectory.time[40:80], trajectory.time[:40], rtol=0)
    arrays, record = read_arrays(out.with_suffix(".npz")), json.loads(
        out.with_suffix(".json").read_text()
    )  # fmt: skip
    assert arrays["velocities"].shape == (240, 22, 3)
    assert arrays["chain"].tolist() == np.repeat(np.arange(6), 40).tolist()
    assert np.isfinite(arrays["energies"]).all()
    assert (record["steps_per_chain"], record["step_fs"]) == (200, pytest.approx(20.0))
    # The temperature of the record is that of the velocities, and near that of the bath.
    kinetic = MASS * (arrays["velocities"].astype(float) ** 2).sum(axis=2).mean()
    known = record["watched"]["temperatures"]["all"]["atoms"]["value"]
    assert known == pytest.approx(kinetic / (3 * GAS_CONSTANT), rel=1e-6)
    law = checkpoint.flow_map.mode.temperatures(0.02, 4)[1]
    assert known == pytest.approx(300.0 * law, rel=0.05)
    assert record["watched"]["drift"]["error"] > 0
    # Positions and velocities belong together: bonds stay, chains differ.
    assert np.abs(trajectory.xyz[39] - trajectory.xyz[79]).max() > 1e-3
    again, _ = propagated(checkpoint, tmp_path)
    calls = checkpoint.flow_map.calls
    np.testing.assert_array_equal(again.xyz, trajectory.xyz)
    assert checkpoint.flow_map.calls == calls


def test_a_resumed_run_is_the_run(checkpoint, tmp_path, monkeypatch):
    whole, out = propagated(checkpoint, tmp_path, time="3ps")
    step, count = Motion.step, []

    def interrupted(self, x, increment):
        count.append(1)
        if len(count) == 120:  # in the second segment
            raise KeyboardInterrupt
        return step(self, x, increment)

    monkeypatch.setattr(Motion, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        propagated(checkpoint, tmp_path, "other", "3ps")
    parts = tmp_path / "other" / ".run.dcd.parts"
    assert (parts / "segment-0000000-000000.npz").exists()
    assert not (tmp_path / "other/run.dcd").exists()
    resumed, other = propagated(checkpoint, tmp_path, "other", "3ps")
    assert len(count) == 120 + 50  # the first segment was not made again
    np.testing.assert_array_equal(resumed.xyz, whole.xyz)
    for name, values in read_arrays(out.with_suffix(".npz")).items():
        np.testing.assert_array_equal(read_arrays(other.with_suffix(".npz"))[name], values)
    assert not parts.exists()


def test_residual_noise_is_part_of_the_run(checkpoint, tmp_path, monkeypatch):
    with pytest.raises(MolflowError, match="has no residual noise, .* --forces --paths"):
        propagated(checkpoint, tmp_path, residual_noise=True)
    neighbours = frame_neighbours(MolecularGraph.from_topology(SYSTEM.topology()))
    still, moved = torch.zeros(66).double(), torch.full((66,), 0.02 * HarmonicMap().width).double()
    covariance = torch.diag(torch.cat([still, moved**2]))[None]
    masses = torch.full((22,), MASS, dtype=torch.float64)
    noise = ResidualNoise(0.02, covariance, 0 * covariance, neighbours, masses, 300.0)
    description = checkpoint.description | {"residual_sha256": "some"}
    checkpoint = Checkpoint(HarmonicMap(), description, checkpoint.folder, noise)
    options = {"energies": False, "time": "3ps"}
    _, out = propagated(checkpoint, tmp_path, **options)
    whole, noisy = propagated(checkpoint, tmp_path, "noisy", residual_noise=True, **options)
    # The lag is the period of the springs, after which kicks show in velocities alone.
    off = [read_arrays(path.with_suffix(".npz"))["velocities"][0] for path in (out, noisy)]
    assert np.abs(off[1] - off[0]).max() > 1e-4
    assert json.loads(noisy.with_suffix(".json").read_text())["plan"]["residual_sha256"] == "some"
    # Interrupted in the second segment and resumed it is the same.
    added, count = ChainResiduals.added, []

    def interrupted(self, *arguments):
        count.append(1)
        if len(count) == 120:
            raise KeyboardInterrupt
        return added(self, *arguments)

    monkeypatch.setattr(ChainResiduals, "added", interrupted)
    options["residual_noise"] = True
    with pytest.raises(KeyboardInterrupt):
        propagated(checkpoint, tmp_path, "other", **options)
    resumed, _ = propagated(checkpoint, tmp_path, "other", **options)
    assert len(count) == 120 + 50
    np.testing.assert_array_equal(resumed.xyz, whole.xyz)


def test_the_path_is_of_seed_and_absolute_time(checkpoint, tmp_path):
    checkpoint = Checkpoint(HarmonicMap(order=12), checkpoint.description, checkpoint.folder)
    long, _ = propagated(checkpoint, tmp_path, "long", "0.8ps", energies=False)
    few = mdtraj.load(str(tmp_path / "start.dcd"), top=str(tmp_path / "topology.pdb"))[:3]
    short, _ = propagated(
        checkpoint, tmp_path, "short", "0.4ps", start=few, chains=3, energies=False
    )
    np.testing.assert_allclose(short.xyz[:4], long.xyz[:4], atol=2e-7)
    np.testing.assert_allclose(short.xyz[8:12], long.xyz[16:20], atol=2e-7)
    fine, _ = propagated(checkpoint, tmp_path, "fine", "0.4ps", "5fs", energies=False)
    other, _ = propagated(checkpoint, tmp_path, "seed", "0.4ps", path_seed=1, energies=False)
    size = np.std(other.xyz[:4] - long.xyz[:4])
    assert np.std(fine.xyz[:4] - long.xyz[:4]) < 0.01 * size
    # No multiple of 30 fs: four steps of 25 fs.
    odd, out = propagated(checkpoint, tmp_path, "odd", "0.4ps", "30fs", energies=False)
    assert json.loads(out.with_suffix(".json").read_text())["step_fs"] == pytest.approx(25.0)
    assert np.std(odd.xyz[:4] - long.xyz[:4]) < 0.01 * size


def test_temperature_and_friction_of_another_state(checkpoint, tmp_path):
    trajectory, out = propagated(
        checkpoint, tmp_path, temperature="450K", friction="20/ps", chains=16
    )
    expected = 450.0 * HarmonicMap(friction=20.0).mode.temperatures(0.02, 4)[1]
    record = json.loads(out.with_suffix(".json").read_text())
    assert (record["temperature"], record["friction"]) == (450.0, 20.0)
    found = record["watched"]["temperatures"]["all"]["atoms"]
    assert found["value"] == pytest.approx(expected, rel=0.03)
    assert record["ensemble_hash"] == f"{SYSTEM.ensemble_hash}@450K"
    # A potential energy knows no temperature.
    found = read_arrays(out.with_suffix(".npz"))["energies"]
    np.testing.assert_allclose(found, potential_energies(SYSTEM, trajectory.xyz), atol=0.01)
    assert trajectory.n_frames == 640


def test_energies_that_there_are_not_are_told(checkpoint, tmp_path):
    description = checkpoint.description | {"ensemble_hash": "of another force field"}
    other = Checkpoint(HarmonicMap(), description, checkpoint.folder)
    _, out = propagated(other, tmp_path, time="0.2ps")
    assert "energies" not in read_arrays(out.with_suffix(".npz"))
    assert json.loads(out.with_suffix(".json").read_text())["no_energies"] in summary(out)
    _, out = propagated(other, tmp_path, "unasked", time="0.2ps", energies=False)
    assert "no_energies" not in json.loads(out.with_suffix(".json").read_text())


def test_a_topology_that_is_there_stays_and_one_of_others_is_refused(checkpoint, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    own = mdtraj.Trajectory(REST.numpy() + 1.0, SYSTEM.topology())
    own.save_pdb(str(folder / "topology.pdb"))
    before = (folder / "topology.pdb").read_bytes()
    propagated(checkpoint, tmp_path, time="0.2ps", energies=False)
    assert (folder / "topology.pdb").read_bytes() == before
    own.atom_slice(range(10)).save_pdb(str(folder / "topology.pdb"))
    with pytest.raises(MolflowError, match="is not of the atoms of 'run.dcd'"):
        propagated(checkpoint, tmp_path, time="0.3ps")
    (folder / "topology.pdb").write_text("no structure")
    with pytest.raises(MolflowError, match="choose another folder"):
        propagated(checkpoint, tmp_path, time="0.3ps")
    assert (folder / "topology.pdb").read_text() == "no structure"


def test_on_a_device_numbers_come_back_with_frames_alone(checkpoint, monkeypatch):
    """On one without numbers, where what is read counts as zeros."""
    config = LangevinConfig(kind="langevin", order=4)
    scales = LangevinScales((12.0,) * 22, (1e3,) * 22, 0.2, 300.0, 1.0, 0.04)
    network = DenseConfig(scalars=8, vectors=4, heads=1, layers=1, pair_width=4)
    graph = MolecularGraph.from_topology(SYSTEM.topology())
    flow_map = build_flow_map(graph, network, config, scales).to(DEVICE)
    monkeypatch.setattr(Watch, "at_frame", lambda *given: [])
    start = np.broadcast_to(REST.numpy(), (3, 22, 3))
    reads = []
    for k, save in enumerate((0.005, 0.02)):
        steps = (3, round(0.06 / save), save, round(save / 0.005), 300.0, 1.0, 0)
        with counted():  # masses and widths of velocities, once
            given = replace(checkpoint, flow_map=flow_map)
            chains = Chains(given, Wanted(Request(*steps), start))
        with counted() as trips:
            chains.segment(range(3), 0, None)
        assert trips.blocking.total() <= 1 - k  # a table, which stays there
        reads.append(trips.read.total())
    assert reads == [2 * 12 + 1, 2 * 3 + 1]


def test_a_broken_chain_stops_the_run_with_a_sentence(checkpoint, tmp_path, monkeypatch):
    step, count = Motion.step, []

    def breaking(self, x, increment):
        x = step(self, x, increment)
        count.append(1)
        if len(count) >= 12:
            x[4, 0, 5] += 0.1
        return x

    monkeypatch.setattr(Motion, "step", breaking)
    with pytest.raises(MolflowError) as told:
        propagated(checkpoint, tmp_path)
    assert "chain 4 broke after 0.3 ps: the bond 1:C – 1:O is" in str(told.value)
    assert "Its 2 frames until then are in" in str(told.value)
    assert "below 20 fs" in str(told.value)
    kept = mdtraj.load(str(tmp_path / "run/run.broken.dcd"), top=SYSTEM.topology())
    monkeypatch.undo()
    whole, _ = propagated(checkpoint, tmp_path, time="0.2ps")
    np.testing.assert_array_equal(kept.xyz, whole.xyz[8:10])


@pytest.mark.parametrize(
    ("change", "word"),
    [(lambda x: x[2, 1].mul_(3.0), "its kinetic temperature is"),
     (lambda x: x[2, 0, 3].fill_(torch.nan), "a coordinate is not finite")],
)  # fmt: skip
def test_a_chain_that_blows_up_is_seen_in_the_step(checkpoint, tmp_path, monkeypatch, change, word):
    step = Motion.step
    monkeypatch.setattr(Motion, "step", lambda *given: (x := step(*given), change(x))[0])
    with pytest.raises(MolflowError, match=rf"chain 2 broke after 0.02 ps: {word}.*No frame had"):
        propagated(checkpoint, tmp_path)


def test_the_others_go_on_where_that_is_wanted(checkpoint, tmp_path, monkeypatch):
    whole, _ = propagated(checkpoint, tmp_path, time="3ps")
    step, count = Motion.step, []

    def breaking(self, x, increment):
        count.append(1)
        x = step(self, x, increment)
        if len(count) in (12, 20):
            x[4, 0, 5] += 0.1
        if len(count) == 30:
            x[1].fill_(torch.nan)
        if len(count) == 120:
            raise KeyboardInterrupt
        return x

    monkeypatch.setattr(Motion, "step", breaking)
    with pytest.raises(KeyboardInterrupt):
        propagated(checkpoint, tmp_path, "others", "3ps", keep_going=True)
    found, out = propagated(checkpoint, tmp_path, "others", "3ps", keep_going=True)
    record = json.loads(out.with_suffix(".json").read_text())
    assert [(row["chain"], row["time"]) for row in record["broken"]] == [
        (1, pytest.approx(0.6)), (4, pytest.approx(0.3))
    ]  # fmt: skip
    kept = np.concatenate([np.arange(30 * chain, 30 * chain + 30) for chain in (0, 2, 3, 5)])
    np.testing.assert_array_equal(found.xyz, whole.xyz[kept])
    assert record["chains"] == 4
    assert set(read_arrays(out.with_suffix(".npz"))["chain"]) == {0, 2, 3, 5}
    told = summary(out)
    assert "; 2 broke." in told and "Chain 4 broke after 0.3 ps: the bond 1:C – 1:O" in told
    monkeypatch.setattr(Motion, "step", lambda *given: step(*given).fill_(torch.nan))
    with pytest.raises(MolflowError, match=r"chain 0 broke after 0.02 ps \(6 chains broke"):
        propagated(checkpoint, tmp_path, "all", keep_going=True)

    def one_by_one(self, x, increment):
        count.append(1)
        x = step(self, x, increment)
        x[len(count) % 6].fill_(torch.nan)
        return x

    count.clear()
    monkeypatch.setattr(Motion, "step", one_by_one)
    with pytest.raises(MolflowError, match=r"chain 0 broke after 0.12 ps, the last of 6 to break"):
        propagated(checkpoint, tmp_path, "all", keep_going=True)


def test_a_molecule_on_its_head_is_seen(checkpoint, tmp_path, monkeypatch):
    """Mirrored as a whole, with every bond as it was."""
    step = Motion.step

    def mirrored(self, x, increment):
        x = step(self, x, increment)
        x[1, 0, :, 0] = 0.001 * increment.h - x[1, 0, :, 0]
        return x

    monkeypatch.setattr(Motion, "step", mirrored)
    with pytest.raises(MolflowError, match="chain 1 broke after 0.02 ps: the stereocentre 2:CA"):
        propagated(checkpoint, tmp_path, save="20fs")


@pytest.mark.parametrize(
    ("given", "word"),
    [({"lag": "50fs"}, "lag is 50 fs, and the map was trained for steps of up to 40 fs"),
     ({"lag": "20nm"}, "lag is '20nm', which is not a time"),
     ({"lag": "0fs"}, "lag is 0fs: it has to be positive"),
     ({"time": "0.25ps"}, "positive multiple of the time between frames"),
     ({"temperature": "300/ps"}, "which is not a temperature"),
     ({"friction": "10ps"}, "friction is '10ps', which is not a rate"),
     ({"chains": 0}, "chains is 0"),
     ({"path_seed": -1}, "path_seed is -1"),
     ({"batch_size": 0}, "batch_size is 0")],
)  # fmt: skip
def test_what_is_impossible_is_told(checkpoint, tmp_path, given, word):
    with pytest.raises(MolflowError, match=word):
        propagated(checkpoint, tmp_path, **given)


def test_starts_that_do_not_fit(checkpoint, tmp_path):
    frame = mdtraj.load(str(tmp_path / "topology.pdb")).atom_slice(range(21))
    frame.save_pdb(str(tmp_path / "topology.pdb"))
    frame.save_dcd(str(tmp_path / "start.dcd"))
    with pytest.raises(MolflowError, match="21 of the 22 atoms"):
        propagated(checkpoint, tmp_path)
    with pytest.raises(MolflowError, match="start '.*nothing.pdb' cannot be used: there is no"):
        propagated(checkpoint, tmp_path, start=tmp_path / "nothing.pdb")


def test_chains_start_from_frames_over_the_whole_file(checkpoint, tmp_path):
    frames = mdtraj.Trajectory(
        np.repeat(REST.numpy()[None], 11, 0) + np.arange(11)[:, None, None], SYSTEM.topology()
    )
    frames.save_dcd(str(tmp_path / "many.dcd"))
    found = verb.start_positions(tmp_path / "many.dcd", SYSTEM.topology(), 6)
    np.testing.assert_allclose(found[:, 0, 0] - float(REST[0, 0]), [0, 2, 4, 6, 8, 10], atol=1e-5)
    few = verb.start_positions(frames[:2], SYSTEM.topology(), 5)
    np.testing.assert_allclose(few[:, 0, 0] - float(REST[0, 0]), [0, 1, 0, 1, 0], atol=1e-5)


def test_analysis_reads_it_as_runs_of_plain_dynamics(checkpoint, tmp_path):
    _, out = propagated(checkpoint, tmp_path, time="2ps")
    series = time_ordered(find_reference(out))
    assert [len(run) for run in series.runs] == [20] * 6
    assert series.interval == pytest.approx(0.1)
    given = read_ensemble(out, None)
    assert not given.notes and given.record["chains"] == 6
    np.testing.assert_array_equal(given.energies, read_arrays(out.with_suffix(".npz"))["energies"])


def test_the_verb(checkpoint, tmp_path, monkeypatch):
    given = Workplace(checkpoint, "cpu", None)
    monkeypatch.setattr(verb, "open_workplace", lambda *asked: given)
    arguments = ["propagate", "alanine_dipeptide", "--start", str(tmp_path / "start.dcd"), "-q",
                 "--time", "0.4ps", "--lag", "20fs", "--save", "0.1ps", "--chains", "6",
                 "--friction", "5/ps", "--out", str(tmp_path / "run.dcd")]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "6 chains of 0.4 ps in steps of 20 fs at 300 K and friction 5/ps; none" in done.output
    assert "Kinetic temperatures in K: atoms" in done.output and "hotter than" in done.output
    arguments[arguments.index("20fs")] = "60fs"
    failed = CliRunner().invoke(app, arguments)
    assert failed.exit_code == 2 and "trained for steps of up to 40 fs" in failed.output


@pytest.mark.parametrize("kind", ["langevin", "overdamped"])
def test_untrained_maps_move_freely_until_the_watch_stops_them(checkpoint, tmp_path, kind):
    """Their mean force is zero; compiled is checked to reach the network."""
    scales = LangevinScales((12.0,) * 22, (1e3,) * 22, 0.2, 300.0, 1.0, 0.04)
    network = DenseConfig(scalars=8, vectors=4, heads=1, layers=1, pair_width=4)
    config = {"langevin": LangevinConfig, "overdamped": OverdampedConfig}[kind](order=4)
    graph = MolecularGraph.from_topology(SYSTEM.topology())
    flow_map = build_flow_map(graph, network, config, scales)
    compiled = []
    flow_map.network.compile = lambda **options: compiled.append(options)
    untrained = Checkpoint(flow_map, checkpoint.description, checkpoint.folder)
    # At high friction an overdamped molecule hardly moves in this time.
    friction = "1/ps" if kind == "langevin" else "1000/ps"
    options = {"save": "5fs", "friction": friction, "energies": False, "compiled": True}
    trajectory, out = propagated(untrained, tmp_path, time="10fs", lag="5fs", **options)
    moved = np.diff(trajectory.xyz.reshape(6, 2, 22, 3), axis=1).std()
    energy = thermal_energy(300.0) / 12.0
    free = {"langevin": energy**0.5 * 0.005, "overdamped": (2 * energy * 0.005 / 1e3) ** 0.5}
    assert moved == pytest.approx(free[kind], rel=0.12)
    assert ("velocities" in read_arrays(out.with_suffix(".npz"))) == (kind == "langevin")
    assert compiled == [{"dynamic": False}]
    assert untrained.flow_map.network._compiled_call_impl is None
    with pytest.raises(MolflowError, match="broke after .*the bond"):
        propagated(untrained, tmp_path, "long", "10ps", "20fs", friction=friction, save="20fs")


def test_a_map_of_another_kind_is_refused(tmp_path):
    with pytest.raises(MolflowError, match="use molflow sample"):
        propagated("alanine_dipeptide", tmp_path, start=tmp_path)
