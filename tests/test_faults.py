"""What machines and people do to files while commands run."""

import inspect
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "analysis"))
from synthetic import reference, trajectory

import molflow
from molflow.analysis.kinetics.interruption import heard_afterwards
from molflow.comparison import compare
from molflow.errors import MolflowError
from molflow.files import replacing, sha256_of
from molflow.parts import alone_in, alone_with, at_work_in, at_work_on
from molflow.setup.folder import new_folder

FILES = ("sample", "propagate", "refine", "label", "estimate", "resample", "check", "compare")
FOLDERS = ("simulate", "prepare", "train", "study", "kinetics", "run")
CASES = Path(__file__).parent / "data" / "cases"


def asked_for(name, out):
    """Call a function by its public name, with nonsense for all that it needs besides `out`."""
    function = getattr(molflow, name)
    needed = {
        key: "alanine_dipeptide"
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty and key != "out"
    }
    return function(**needed | ({"time": "1ns"} if name == "simulate" else {}), out=out)


@pytest.mark.parametrize("name", FILES)
def test_no_two_requests_for_one_file_at_once(name, tmp_path):
    out = tmp_path / ("a.html" if name == "compare" else "a.json")
    with at_work_on(out), pytest.raises(MolflowError, match="another process is at work on"):
        asked_for(name, out)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FOLDERS)
def test_no_two_requests_for_one_folder_at_once(name, tmp_path):
    out = tmp_path / "made"
    with at_work_in(out), pytest.raises(MolflowError, match="another process is at work in"):
        asked_for(name, out)
    assert not list(tmp_path.iterdir())


def test_all_that_is_written_is_held(tmp_path):
    @alone_with("out", "beside", folders=("figures",))
    def work(out, beside=None, figures=None):
        return [path.name for path in (out.parent, figures) for path in path.glob(".*lock")]

    names = work(tmp_path / "a.html", figures=tmp_path / "pictures")
    assert sorted(names) == [".a.html.lock", ".lock"]
    with at_work_on(tmp_path / "b.dcd"), pytest.raises(MolflowError, match="b.dcd"):
        work(tmp_path / "a.html", tmp_path / "b.dcd", tmp_path / "pictures")
    assert not list(tmp_path.iterdir())


def test_of_processes_that_train_together_the_first_holds_the_folder(tmp_path, monkeypatch):
    work = alone_with(folders=("out",), together=True)(lambda out: out)
    unrelated = alone_in(lambda out: out)
    with at_work_in(tmp_path):
        for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
            monkeypatch.setenv(name, "1")
            assert work(tmp_path) == tmp_path
            with pytest.raises(MolflowError, match="another process"):
                unrelated(tmp_path)
            monkeypatch.setenv(name, "0")
        with pytest.raises(MolflowError, match="another process"):
            work(tmp_path)


def test_leftovers_in_folders_go(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "pieces").mkdir()
    left = [
        tmp_path / f".model.{gone.pid}.partial.json", tmp_path / f"pieces/.a.{gone.pid}.partial.npz"
    ]  # fmt: skip
    for path in left:
        path.touch()
    with at_work_in(tmp_path):
        assert not any(path.exists() for path in left)
    for name in ("topology", "metrics"):
        (tmp_path / f".{name}.{gone.pid}.partial.pdb").touch()
    with at_work_on(tmp_path / "a.dcd"):
        assert [path.name for path in tmp_path.glob(".*.partial*")] == []


def test_half_a_system_is_removed_and_a_whole_one_is_left(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    half = tmp_path / f".pep.{gone.pid}.partial"
    half.mkdir()
    (half / "system.yaml").touch()
    with pytest.raises(MolflowError, match="perhaps because another process"):
        with new_folder(tmp_path / "pep") as folder:
            assert not half.exists()
            (folder / "system.yaml").write_text("mine")
            (tmp_path / "pep").mkdir()  # another process is faster
            (tmp_path / "pep" / "system.yaml").write_text("theirs")
    assert [path.name for path in tmp_path.iterdir()] == ["pep"]
    assert (tmp_path / "pep" / "system.yaml").read_text() == "theirs"


def test_files_are_on_the_disk_before_they_have_their_names(tmp_path, monkeypatch):
    path, seen, sync = tmp_path / "a.json", [], os.fsync

    def fsync(descriptor):
        seen.append((os.fstat(descriptor).st_size, path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(path) as temporary:
        temporary.write_text("12345")
    assert seen == [(5, False)] and path.read_text() == "12345"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_an_import_would_swallow_are_heard_afterwards(number):
    def terminate(number, frame):
        raise KeyboardInterrupt

    before = {n: signal.signal(n, terminate) for n in (signal.SIGINT, signal.SIGTERM)}
    went_on = []
    try:
        with pytest.raises(KeyboardInterrupt):
            with heard_afterwards():
                try:  # as deeptime does
                    os.kill(os.getpid(), number)
                    went_on.append(1)
                except BaseException:
                    went_on.append("swallowed")
            went_on.append("as if nothing had happened")
        assert went_on == [1] and signal.getsignal(number) is terminate
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


@pytest.fixture
def made(tmp_path):
    reference(frames=600).save(tmp_path / "ref")
    first = trajectory(60, seed=3)
    first.save_dcd(str(tmp_path / "ens.dcd"))
    first[0].save_pdb(str(tmp_path / "topology.pdb"))
    trajectory(60, seed=4).save_dcd(str(tmp_path / "other.dcd"))
    return tmp_path


def compared(folder, **options):
    return compare(
        folder / "ens.dcd", folder / "ref", folder / "out" / "a.html", exact_transport=False,
        jobs=1, **options,
    )  # fmt: skip


@pytest.mark.parametrize("moment", ["scorecard.score", "report.render"])
def test_an_ensemble_that_is_replaced_meanwhile_is_of_no_report(moment, made, monkeypatch):
    """When its scores are known, and when its molecules are drawn as well."""
    from molflow.analysis import scorecard
    from molflow.analysis.reporting import report

    module = {"scorecard": scorecard, "report": report}[moment.partition(".")[0]]
    name = moment.partition(".")[2]
    real = getattr(module, name)

    def replaced(*args, **options):
        os.replace(made / "other.dcd", made / "ens.dcd")
        return real(*args, **options)

    monkeypatch.setattr(module, name, replaced)
    with pytest.raises(MolflowError, match="ens.dcd' was replaced or changed while it was read"):
        compared(made)
    assert not (made / "out").exists()


def test_an_ensemble_that_grows_meanwhile_is_of_no_report(made, monkeypatch):
    from molflow.analysis import scorecard

    real = scorecard.score

    def grown(*args, **options):
        with open(made / "ens.dcd", "ab") as file:
            file.write(b"frame")
        return real(*args, **options)

    monkeypatch.setattr(scorecard, "score", grown)
    with pytest.raises(MolflowError, match="wait until it is finished"):
        compared(made)


def test_comparing_twice_gives_the_same_files(made):
    bad = trajectory(60, seed=3)
    bad.xyz[5, 0] += 0.2
    bad.save_dcd(str(made / "ens.dcd"))
    found = []
    for _ in range(2):
        compared(made, offenders=made / "out" / "bad.dcd")
        found.append({path.name: sha256_of(path) for path in (made / "out").iterdir()})
    assert found[0] == found[1]
    assert sorted(found[0]) == ["a.html", "a.json", "bad.csv", "bad.dcd", "bad.pdb"]


def test_a_report_tells_which_numbers_are_its_own(made):
    compared(made)
    page, numbers = made / "out" / "a.html", made / "out" / "a.json"
    mark = f'<meta name="sha256 of the numbers" content="{sha256_of(numbers)}">'
    assert mark in page.read_text()


def test_a_force_field_of_ones_own_is_part_of_the_ensemble(tmp_path, monkeypatch):
    """Found from anywhere, and another one when its contents are others."""
    import shutil

    from molflow.systems import load_system

    shutil.copytree(CASES / "own-forcefield" / "own", tmp_path / "own")
    first = load_system(tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    assert load_system(Path(".")).ensemble_hash == first.ensemble_hash
    (own,) = (tmp_path / "own").glob("*.xml")
    own.write_text(own.read_text().replace('k="', 'k="1'))
    assert load_system(tmp_path / "own").ensemble_hash != first.ensemble_hash
    assert np.isfinite(first.start_positions()).all()
