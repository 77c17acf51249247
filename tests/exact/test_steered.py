"""`sample_steered`: against plain samples with weights, files, resuming, refusals."""

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from typer.testing import CliRunner

import molflow
from molflow.cli import app
from molflow.errors import MolflowError
from molflow.exact.reward import load_reward
from molflow.exact.steered import format_steered, sample_steered
from molflow.exact.steering import Steering
from molflow.files import read_arrays
from molflow.units import thermal_energy

FROZEN = Path(__file__).parent.parent / "data" / "checkpoint-v1"
KT = thermal_energy(300.0)
CODE = """
import mdtraj

def closer(trajectory):
    return 30.0 * mdtraj.compute_distances(trajectory, [[0, 4]])[:, 0]
"""


def ends(trajectory):
    return mdtraj.compute_distances(trajectory, [[0, 4]])[:, 0].astype(float)


def closer(trajectory):
    return 30.0 * ends(trajectory)


@pytest.fixture
def reward(tmp_path):
    (tmp_path / "rewards.py").write_text(CODE)
    return f"{tmp_path / 'rewards.py'}:closer"


def test_the_law_is_that_of_plain_samples_with_weights():
    """The map of this checkpoint is a small one; what it gives is the truth here."""
    plain = molflow.sample(FROZEN, steps=2, n=2048, path_seed=5, progress=False)
    energies = closer(plain) / KT
    weights = np.exp(-energies)
    mean = np.average(ends(plain), weights=weights)
    spread = np.sqrt(np.sum((weights * (ends(plain) - mean)) ** 2)) / weights.sum()
    trajectory, steered = sample_steered(
        FROZEN, closer, n=768, steps=2, path_seed=1, progress=False
    )
    record = steered["record"]
    own = np.exp(steered["log_weights"] - steered["log_weights"].max())
    found = np.average(ends(trajectory), weights=own)
    error = ends(trajectory).std() / record["lineages"] ** 0.5
    assert mean < ends(plain).mean() - 5 * spread  # the reward does something
    assert found == pytest.approx(mean, abs=4 * np.hypot(spread, error))
    free = -KT * np.log(weights.mean())
    plain_error = KT * weights.std() / weights.mean() / 2048**0.5
    assert record["error"] is None and record["groups"] == 3
    assert record["free_energy"] == pytest.approx(free, abs=5 * plain_error + 0.1 * KT)
    assert record["effective"] > 1.5 * 768 * weights.mean() ** 2 / np.mean(weights**2)


def test_files_and_record(tmp_path, reward):
    out = tmp_path / "steered.dcd"
    options = {"n": 20, "steps": 2, "moves": 1, "progress": False}
    trajectory, steered = sample_steered(FROZEN, reward, out=out, **options)
    arrays = read_arrays(out.with_suffix(".npz"))
    assert np.allclose(arrays["reward_energies"], closer(trajectory), atol=1e-3)
    assert np.array_equal(arrays["log_weights"], steered["log_weights"])
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["steered"] == steered["record"] and record["nfe"] == 2
    assert record["plan"]["reward"]["function"] == "closer"
    assert record["ensemble_hash"].endswith("with a reward")
    assert "effective of 20 conformations" in format_steered(record["steered"])
    again, same = sample_steered(FROZEN, reward, out=out, **options)
    assert np.allclose(again.xyz, trajectory.xyz, atol=1e-6)
    assert same["record"] == steered["record"]
    assert not list(tmp_path.glob(".*"))


def test_resumes_group_by_group(tmp_path, reward, monkeypatch):
    import molflow.exact.steered as module

    monkeypatch.setattr(module, "GROUP", 8)
    options = {"n": 20, "steps": 1, "moves": 1, "progress": False}
    whole, steered = sample_steered(FROZEN, reward, **options)
    assert steered["record"]["groups"] == 3
    run, left = Steering.run, [2]

    def stopping(self, *arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return run(self, *arguments)

    monkeypatch.setattr(Steering, "run", stopping)
    out = tmp_path / "steered.dcd"
    with pytest.raises(KeyboardInterrupt):
        sample_steered(FROZEN, reward, out=out, **options)
    left[0] = 1
    resumed, same = sample_steered(FROZEN, reward, out=out, **options)
    assert np.array_equal(whole.xyz, resumed.xyz) and left[0] == 0
    assert same["record"] == steered["record"]


def test_doubts_and_walls():
    def wall(trajectory):
        return np.where(ends(trajectory) < 0.0, 0.0, np.inf)

    with pytest.raises(MolflowError, match="forbids all 4 conformations"):
        sample_steered(FROZEN, wall, n=4, steps=1, moves=0, progress=False)
    _, steered = sample_steered(FROZEN, closer, n=4, steps=1, moves=0, progress=False)
    assert any("effective starts" in doubt for doubt in steered["record"]["doubts"])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda t: np.zeros(3), "the shape"),
        (lambda t: np.full(t.n_frames, np.nan), "not a number or minus infinity"),
        (lambda t: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_rewards_that_fail(answer, words):
    with pytest.raises(MolflowError, match=words):
        sample_steered(FROZEN, answer, n=4, steps=1, moves=0, progress=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rewards.py", "write FILE.py:FUNCTION"),
        ("absent.py:closer", "which is not there"),
        ("rewards.py:other", "has no function 'other'"),
        ("broken.py:closer", "running 'broken.py' failed: NameError"),
    ],
)
def test_rewards_that_are_not_there(text, words, tmp_path, monkeypatch):
    (tmp_path / "rewards.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("nothing")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MolflowError, match=words):
        load_reward(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"n": 1}, "n is 1"), ({"steps": 0}, "steps is 0"), ({"moves": -1}, "moves is -1")],
)
def test_refusals(options, words):
    with pytest.raises(MolflowError, match=words):
        sample_steered(**{"checkpoint": FROZEN, "reward": closer, "progress": False, **options})


def test_the_command_line(tmp_path, reward):
    out = tmp_path / "steered.dcd"
    command = ["sample", str(FROZEN), "--reward", reward, "-n", "6", "--steps", "1", "-q"]
    result = CliRunner().invoke(app, [*command, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "what the map has wrong stays wrong" in result.output and out.is_file()
    result = CliRunner().invoke(app, [*command, "--flow", "--out", str(tmp_path / "b.dcd")])
    assert result.exit_code == 2 and "--flow and --reward are different" in result.stderr
