"""Simulations: resuming is exact, plans are checked, temperatures and exchanges are right."""

import json
import os
import signal
import subprocess
import sys
import time

import mdtraj
import numpy as np
import pytest

from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json
from molflow.md.build import make_simulation
from molflow.md.energies import potential_energies
from molflow.md.plan import parse_tempering, plan_of
from molflow.md.runner import part_folder, run_replicas
from molflow.md.simulate import simulate
from molflow.seeds import derive_seed
from molflow.systems import load_system
from molflow.units import thermal_energy

SETTINGS = {
    "time": "11ps",
    "replicas": 2,
    "tempering": "300K:400K:2",
    "seed": 3,
    "frame_interval": "50fs",
    "equilibration": "3ps",
    "platform": "Reference",
}

SCRIPT = """
from molflow.md.simulate import simulate
simulate("alanine_dipeptide", **{settings!r})
"""


@pytest.fixture(scope="module")
def system():
    return load_system("alanine_dipeptide")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted simulation: 220 frames, three segments a replica."""
    out = tmp_path_factory.mktemp("whole")
    return out, simulate("alanine_dipeptide", out=out, progress=False, **SETTINGS)


def assert_same_files(first, second):
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert [name for name in names if name.endswith((".dcd", ".npz"))] == [
        f"replica-{i}.{kind}" for i in range(2) for kind in ("dcd", "npz")
    ]
    for name in names:
        if name != "simulation.json":
            assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_a_simulation_that_has_no_more_time_ends_early(tmp_path, system):
    """Frames are the first ones of the simulation that is not cut short; 30 of them at least."""
    settings = SETTINGS | {"time": "1ns", "equilibration": "50fs", "tempering": None}
    out = tmp_path / "md"
    begun = time.time()
    manifest = simulate(system, out=out, progress=False, jobs=1, seconds=14.0, **settings)
    assert time.time() - begun < 30.0
    frames = [run["frames"] for run in manifest["runs"]]
    assert all(30 <= count < 20_000 for count in frames)
    assert manifest["plan"]["frames"] == 20_000 and not part_folder(out, 0).exists()
    arrays = read_arrays(out / "replica-0.npz")
    assert len(arrays["times"]) == frames[0]
    assert arrays["times"][-1] == pytest.approx(0.05 * frames[0])
    short = settings | {"time": "1.5ps"}
    simulate(system, out=tmp_path / "short", progress=False, **short)
    assert np.array_equal(
        read_arrays(tmp_path / "short/replica-0.npz")["energies"], arrays["energies"][:30]
    )
    again = simulate(system, out=out, progress=False, seconds=14.0, **settings)
    assert again["runs"] == manifest["runs"]


def test_finished_folder(whole, system):
    out, manifest = whole
    assert read_json(out / "simulation.json") == manifest
    assert manifest["status"] == "finished" and manifest["ensemble_hash"] == system.ensemble_hash
    assert manifest["platform"] == "Reference"
    assert manifest["platform_steps_per_second"] == {}  # nothing is timed where one is named
    assert not part_folder(out, 0).exists()
    first = mdtraj.load(out / "replica-0.dcd", top=out / "topology.pdb")
    other = mdtraj.load(out / "replica-1.dcd", top=out / "topology.pdb")
    assert first.topology.n_bonds == 21 and first.n_frames == 220
    assert np.abs(first.xyz - other.xyz).max() > 0.01
    arrays = read_arrays(out / "replica-0.npz")
    assert arrays["times"][[0, -1]] == pytest.approx([0.05, 11.0])
    # The energies were taken before positions were rounded to single precision.
    found = potential_energies(system, first.xyz)
    assert np.abs(found - arrays["energies"]).max() < 0.05
    assert np.abs(found - np.roll(arrays["energies"], 1)).max() > 5.0


def test_exchanges_are_plausible(whole):
    out, manifest = whole
    # An accepted swap is undone by the next attempt of the same round, so that of a chance p of
    # about 0.3 the share p / (1 + p) remains.
    assert 0.05 < manifest["moved"] < 0.5
    walkers = read_arrays(out / "replica-0.npz")["walkers"]
    assert 0.1 < walkers.mean() < 0.9  # both walkers visit the lowest temperature


def test_potential_energy_obeys_equipartition(system, tmp_path):
    simulate(
        system,
        "40ps",
        replicas=1,
        out=tmp_path,
        frame_interval="200fs",
        equilibration="10ps",
        platform="Reference",
        progress=False,
    )
    energies = read_arrays(tmp_path / "replica-0.npz")["energies"]
    simulation = make_simulation(system, 300.0, 1, "Reference")
    simulation.minimizeEnergy()
    minimum = simulation.context.getState(energy=True).getPotentialEnergy()._value
    # 3 N - 6 = 60 nearly harmonic vibrations of kT / 2; 40 ps leave an error of about 3 kJ/mol.
    kt = thermal_energy(300.0)
    assert energies.mean() - minimum == pytest.approx(30 * kt, abs=15.0)
    assert energies.std() == pytest.approx(np.sqrt(30) * kt, rel=0.35)


def test_resume_after_kill_is_bitwise_the_same(whole, tmp_path):
    out = tmp_path / "killed"
    script = SCRIPT.format(settings=SETTINGS | {"out": str(out)})
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 120
    while not (part_folder(out, 1) / "segment-00000.npz").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "replica-0.dcd").exists()
    time.sleep(1.0)  # the workers notice that their parent is gone
    newest = [path.stat().st_mtime_ns for path in sorted(out.rglob("*.npz"))]
    time.sleep(1.0)
    assert newest == [path.stat().st_mtime_ns for path in sorted(out.rglob("*.npz"))]
    simulate("alanine_dipeptide", out=out, progress=False, jobs=1, **SETTINGS)
    assert_same_files(whole[0], out)


def test_interrupt_ends_workers_and_can_be_resumed(whole, tmp_path):
    out = tmp_path / "interrupted"
    # Tests that run in the background of a script inherit an ignored Ctrl-C.
    script = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script += SCRIPT.format(settings=SETTINGS | {"out": str(out)})
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (part_folder(out, 0) / "checkpoint.npz").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors
    simulate("alanine_dipeptide", out=out, progress=False, **SETTINGS)
    assert_same_files(whole[0], out)


def test_parts_without_manifest_are_adopted(whole, system, tmp_path):
    plan = plan_of(
        system,
        "5ps",
        tempering="300K:400K:2",
        frame_interval="50fs",
        equilibration="3ps",
        seed=derive_seed(3, "replica", 0),
    )
    run_replicas(system, [plan], tmp_path, 1, progress=False)
    wrong = SETTINGS | {"tempering": "300K:400K:3"}
    with pytest.raises(MolflowError, match="parts of another simulation"):
        simulate(system, out=tmp_path, progress=False, **wrong)
    assert not (tmp_path / "simulation.json").exists()
    simulate(system, out=tmp_path, progress=False, **SETTINGS)
    assert_same_files(whole[0], tmp_path)


def test_finished_folder_is_left_alone_and_others_refused(whole, capsys):
    out, manifest = whole
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.*")}
    assert simulate("alanine_dipeptide", out=out, **SETTINGS) == manifest
    assert "nothing to do" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*.*")}
    for change, named in (
        ({"time": "12ps"}, "frames"),
        ({"tempering": "300K:410K:2"}, "temperatures"),
        ({"seed": 4, "replicas": 3}, "seed, replicas"),
        ({"platform": "CPU"}, "platform"),
    ):
        with pytest.raises(MolflowError, match=rf"different: {named}\)"):
            simulate("alanine_dipeptide", out=out, progress=False, **(SETTINGS | change))


def test_other_ensemble_is_refused(whole, tmp_path):
    manifest = whole[1] | {"ensemble_hash": "0" * 16}
    (tmp_path / "simulation.json").write_text(json.dumps(manifest))
    with pytest.raises(MolflowError, match="different: ensemble"):
        simulate("alanine_dipeptide", out=tmp_path, progress=False, **SETTINGS)


def test_dead_worker_is_told(tmp_path, system):
    settings = SETTINGS | {"replicas": 1, "tempering": None}
    folder = part_folder(tmp_path, 0)
    folder.mkdir()
    (folder / "segment-00000.npz").mkdir()  # cannot be replaced by a file
    with pytest.raises(MolflowError, match="replica 0 failed: cannot write"):
        simulate(system, out=tmp_path, progress=False, **settings)


def test_ladder():
    ladder = parse_tempering("300K:600K:4", 300.0)
    assert ladder == tuple(float(t) for t in np.geomspace(300.0, 600.0, 4))
    assert np.ptp(np.diff(np.log(ladder))) < 1e-12
    assert parse_tempering(None, 310.0) == (310.0,)


@pytest.mark.parametrize(
    "text",
    ["300K", "300K:600K", "310K:600K:4", "300K:600K:1", "300K:200K:4", "a:b:3", "300K:6ns:4"],
)
def test_wrong_ladders_are_refused(text):
    with pytest.raises(MolflowError, match="tempering"):
        parse_tempering(text, 300.0)


def test_plan_of_the_long_runs(system):
    plan = plan_of(system, "10ns", tempering="300K:600K:4", seed=1)
    assert (plan.frames, plan.exchanges_per_frame, plan.equilibration_frames) == (10000, 2, 100)
    assert plan.segment_frames == 100 and plan.segments == 100 and plan.frame_interval == 1.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"time": "0ns"}, "time"),
        ({"time": "1.5ps"}, "time"),
        ({"time": "10ns", "frame_interval": "1.5fs"}, "frame_interval"),
        ({"time": "10ns", "frame_interval": "0ps"}, "frame_interval"),
        ({"time": "10ns", "equilibration": "-1ps"}, "equilibration"),
        ({"time": "ten"}, "time"),
    ],
)
def test_wrong_times_are_refused(system, arguments, named):
    with pytest.raises(MolflowError, match=named):
        plan_of(system, **arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"system": "alanine_dipeptide:heavy"}, "keeps only some atoms"),
        ({"replicas": 0}, "replicas is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"platform": "Abacus"}, "platform is 'Abacus'"),
        ({"jobs": 0}, "jobs is 0"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, arguments, sentence):
    settings = {"system": "alanine_dipeptide", "out": tmp_path, "progress": False} | SETTINGS
    with pytest.raises(MolflowError, match=sentence):
        simulate(**(settings | arguments))
