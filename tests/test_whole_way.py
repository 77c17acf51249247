"""The whole way within a budget: what it plans, in which order it goes, and that it goes on."""

import pytest
from typer.testing import CliRunner

from molflow import cli, whole_way
from molflow.errors import MolflowError
from molflow.files import read_json, write_text
from molflow.whole_way import advice, parse_budget, plan_of, run


def test_budgets_are_times():
    assert [parse_budget(text) for text in ("1h", "20min", "90s", "120", 75.0)] == [
        3600.0, 1200.0, 90.0, 120.0, 75.0,
    ]  # fmt: skip
    for wrong in ("", "soon", "10s", "-1h", "nan", "inf"):
        with pytest.raises(MolflowError, match="budget is"):
            parse_budget(wrong)


def test_dynamics_get_a_quarter_of_the_budget():
    plan = plan_of(3600.0, 21, 1e-4, 1.0, 2)
    steps = 6 * (plan.time + plan.equilibration) * 1e3
    assert steps * 1e-4 / 2 == pytest.approx(0.25 * 3600, rel=0.01)
    frames = plan.time / plan.frame_interval
    assert frames == pytest.approx(round(frames)) and 3000 < frames <= 10_000
    assert plan.training_seconds == 1800.0


def test_a_costly_molecule_gets_few_frames_and_a_small_network():
    plan = plan_of(60.0, 138, 0.01, 1.0, 1)
    assert plan.time / plan.frame_interval >= 9.99 and plan.frame_interval == 0.1
    assert "batch_size=16" in plan.network and "batch_size=64" in plan_of(60, 21, 1, 1, 1).network


@pytest.fixture
def stages(monkeypatch):
    """Every verb writes down that it was called, and nothing else."""
    called = []

    def simulate(system, time, **options):
        called.append(("simulate", system.label, time))

    def prepare(folder, out, system):
        called.append(("prepare", system.label))
        return {"lacks": []}

    def train(system, data, out, overrides, progress):
        called.append(("train", out.name, [w for w in overrides if w.startswith("steps=")][0]))
        out.mkdir(exist_ok=True)
        write_text(out / "metrics.csv", "step,seconds\n20,9.0\n40,2.0\n")
        return out / "checkpoint"

    def sample(checkpoint, **options):
        called.append(("sample", checkpoint.parent.name))

    def compare(ensemble, reference, out, **options):
        called.append(("compare", reference.name))
        return {"verdict": {"headline": "Poor."}, "statistics": {"reference_effective": 20.0}}

    monkeypatch.setattr("molflow.md.simulate.simulate", simulate)
    monkeypatch.setattr("molflow.data.prepare.prepare", prepare)
    monkeypatch.setattr("molflow.training.run.train", train)
    monkeypatch.setattr("molflow.sampling.ensemble.sample", sample)
    monkeypatch.setattr("molflow.comparison.compare", compare)
    monkeypatch.setattr(
        "molflow.setup.understanding.fastest_platform", lambda _: ("CPU", {"CPU": 5000.0})
    )
    return called


def test_stages_follow_each_other_and_training_is_timed_once(stages, tmp_path):
    result = run("alanine_dipeptide:heavy", tmp_path / "out", "10min", jobs=2)
    names = [name for name, *_ in stages]
    assert names == ["simulate", "prepare", "train", "train", "sample", "compare"]
    assert stages[0][1] == "alanine_dipeptide" and stages[1][1] == "alanine_dipeptide:heavy"
    # 2 s for 20 steps in the second epoch: half of 600 s are 3,000 steps.
    assert stages[2] == ("train", "timing", "steps=40")
    assert stages[3] == ("train", "training", "steps=3000")
    assert result["training_steps"] == 3000
    assert result["advice"][0].startswith("The held-out dynamics hold about 20 independent")
    assert read_json(tmp_path / "out/run.json") == result
    again = run("alanine_dipeptide:heavy", tmp_path / "out", "10min", jobs=2)
    names = [name for name, *_ in stages[6:]]
    assert names == ["simulate", "prepare", "train", "sample", "compare"]
    assert again["plan"] == result["plan"]
    with pytest.raises(MolflowError, match="was begun for another system or budget"):
        run("alanine_dipeptide:heavy", tmp_path / "out", "20min")


def test_the_command_line_ends_in_verdict_and_advice(stages, tmp_path):
    words = ["run", "alanine_dipeptide", "--budget", "2min", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "Poor." and lines[-1].startswith("Report in")


def test_advice_says_what_would_help_most():
    sound = {"statistics": {"reference_effective": 5000.0}}
    assert advice(sound, {"lacks": []}, 30_000)[0].startswith("More network calls")
    assert advice(sound, {"lacks": ["few"]}, 30_000) == ["few"]
    assert "Training took 500 steps" in advice(sound, {"lacks": []}, 500)[0]
    assert whole_way.network_words(22) != whole_way.network_words(138)
