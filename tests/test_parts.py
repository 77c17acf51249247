"""Long work in parts: one at a time, damaged parts made again, leftovers removed."""

import errno
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from molflow.errors import MolflowError
from molflow.files import alone_at, check_name, remove_leftovers, write_arrays
from molflow.parts import alone, claim_parts, kept_array, kept_arrays
from molflow.verbs import app as verb_app

HOLD = """
import sys, time
from pathlib import Path
from molflow.parts import alone

@alone
def work(out):
    print("held", flush=True)
    time.sleep(60)

work(sys.argv[1])
"""


@pytest.fixture
def held(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "a.dcd")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@alone
def named(n, out=None):
    return n


def test_two_processes_are_not_at_work_on_one_name(held, tmp_path):
    with pytest.raises(MolflowError, match=r"another process is at work on '.*a.dcd'"):
        named(1, out=tmp_path / "a.dcd")
    assert named(2, tmp_path / "b.dcd") == 2 and named(3) == 3
    held.kill()
    held.wait()
    assert named(4, tmp_path / "a.dcd") == 4
    assert not list(tmp_path.iterdir())


def test_a_lock_that_was_removed_is_not_a_lock(tmp_path):
    """Who opened the file before its holder removed it does not hold what a third one makes."""
    import fcntl

    lock, real, seen = tmp_path / "lock", fcntl.flock, []

    def flock(file, flags):
        if not seen:  # the holder goes between opening and locking
            lock.unlink()
        seen.append(1)
        real(file, flags)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        with alone_at(lock, "held"):
            assert lock.exists() and len(seen) == 2
            with pytest.raises(MolflowError, match="held"), alone_at(lock, "held"):
                pass
    assert not lock.exists()


def test_a_refused_request_leaves_no_folder(tmp_path):
    @alone
    def refuse(out):
        raise MolflowError("no")

    with pytest.raises(MolflowError, match="no"):
        refuse(tmp_path / "new" / "a.dcd")
    assert not (tmp_path / "new").exists()


def test_parts_that_are_empty_or_short_are_made_again(tmp_path):
    path, table = tmp_path / "a.npy", tmp_path / "a.npz"
    np.save(path, np.arange(6.0))
    write_arrays(table, x=np.arange(3.0))
    assert np.array_equal(kept_array(path, 6), np.arange(6.0))
    assert kept_array(path, 7) is None
    assert np.array_equal(kept_arrays(table)["x"], np.arange(3.0))
    for name in (path, table):
        whole = name.read_bytes()
        for share in (0, 0.3, 0.9):
            name.write_bytes(whole[: int(share * len(whole))])
            assert (kept_array if name is path else kept_arrays)(name) is None
    assert kept_array(None) is None and kept_arrays(tmp_path / "b.npz") is None


def test_parts_with_a_damaged_plan_are_of_no_request(tmp_path):
    parts = claim_parts(tmp_path / "a.dcd", {"n": 1})
    (parts / "one.npy").write_bytes(b"1")
    (parts / "plan.json").write_text("")
    claim_parts(tmp_path / "a.dcd", {"n": 1})
    assert [path.name for path in parts.iterdir()] == ["plan.json"]


def test_leftovers_of_processes_that_are_no_more_are_removed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead, own = tmp_path / f".a.{gone.pid}.partial.dcd", tmp_path / f".a.{os.getpid()}.partial.dcd"
    other = tmp_path / ".a.b.partial.dcd"
    for path in (dead, own, other):
        path.touch()
    remove_leftovers(tmp_path, "a")
    assert not dead.exists() and own.exists() and other.exists()


def test_names_that_cannot_be_written_are_found_before_work(tmp_path):
    (tmp_path / "run.dcd").mkdir()
    with pytest.raises(MolflowError, match="which is a folder"):
        check_name(tmp_path / "run.dcd")
    with pytest.raises(MolflowError, match="has 250 bytes: give one of at most 223"):
        check_name(tmp_path / ("ü" * 123 + ".dcd"))
    with pytest.raises(MolflowError, match="has 250 bytes"):
        named(1, tmp_path / ("a" * 246 + ".dcd"))
    assert check_name(tmp_path / ("a" * 219 + ".dcd")).name.startswith("aaa")


@pytest.fixture
def application(monkeypatch):
    made = typer.Typer()
    monkeypatch.setattr(verb_app, "app", made)
    return made


def test_a_full_disk_is_a_sentence(application, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def fill():
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise TypeError("'dict' object is not callable") from error

    verb_app.verb(fill)
    found = CliRunner().invoke(application, [])
    assert found.exit_code == 2 and "molflow: the disk is full: make room" in found.output
    assert not list(tmp_path.iterdir())


def test_termination_is_a_sentence_and_a_status(application):
    def wait():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    verb_app.verb(wait)
    found = CliRunner().invoke(application, [])
    assert found.exit_code == 143 and "molflow: terminated" in found.output
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("text", ["", "training: {}\n", "- a\n"])
def test_a_damaged_description_of_a_run_is_a_sentence(text, tmp_path):
    from molflow.training.run_folder import claim

    (tmp_path / "config.yaml").write_text(text)
    settings = SimpleNamespace(model_dump=lambda mode: {})
    with pytest.raises(MolflowError, match="config.yaml' does not"):
        claim(tmp_path, settings, "hash", None)
    assert (tmp_path / "config.yaml").read_text() == text
