"""The whole way within a budget: what it plans, in which order it goes, and that it goes on."""

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from molflow import cli
from molflow.analysis.verdict import usability
from molflow.budget import Budget, choose_network, dynamics_of, kept_for_the_end, parse_budget
from molflow.errors import MolflowError
from molflow.files import read_json, write_json, write_text
from molflow.least_work import least_dynamics, made_up
from molflow.run_account import advice
from molflow.systems import load_system
from molflow.training.cost import StepCost
from molflow.whole_way import run


def test_budgets_are_times():
    assert [parse_budget(text) for text in ("1h", "20min", "90s", "120", 75.0)] == [
        3600.0, 1200.0, 90.0, 120.0, 75.0,
    ]  # fmt: skip
    for wrong in ("", "soon", "10s", "-1h", "nan", "inf"):
        with pytest.raises(MolflowError, match="budget is"):
            parse_budget(wrong)


def test_dynamics_get_the_steps_that_their_time_buys():
    plan = dynamics_of(900.0, 1e-4, 1.0, 2)
    steps = 6 * (plan.time + plan.equilibration) * 1e3
    assert steps * 1e-4 / 2 == pytest.approx(900, rel=0.01)
    frames = plan.time / plan.frame_interval
    assert frames == pytest.approx(round(frames)) and 1500 < frames <= 5_000
    # 3 fs do not go into 20 fs: the interval is a whole number of steps.
    odd = dynamics_of(100.0, 0.001, 3.0, 1)
    assert odd.frame_interval == pytest.approx(0.021)


def test_a_costly_molecule_gets_frames_that_are_close():
    # 18 s of 10 ms a step and six runs: 300 steps each.
    plan = dynamics_of(18.0, 0.01, 1.0, 1)
    assert plan.frame_interval == pytest.approx(0.002)
    assert plan.time / plan.frame_interval == pytest.approx(135)


def test_the_largest_network_that_gets_enough_steps_is_taken():
    def cost(words):
        return 1e-5 * int(words[0].partition("=")[2]) ** 2 * int(words[3].partition("=")[2])

    assert choose_network(1e4, 22, cost)["words"][0] == "network.scalars=64"
    middle = choose_network(200.0, 22, cost)
    assert middle["words"][0] == "network.scalars=48"
    assert middle["steps"] == int(200.0 / middle["seconds_a_step"]) >= 3000
    assert "the largest that gets 3,000 training steps in 200 s" in middle["why"]
    least = choose_network(1.0, 138, cost)
    assert least["words"][0] == "network.scalars=32" and least["words"][-1] == "batch_size=16"
    assert "the smallest of three, which gets less than 3,000" in least["why"]


def test_a_busy_machine_gets_more_time_for_the_end():
    assert kept_for_the_end(3600.0, 1.0, 9.0) == pytest.approx(432.0)
    assert kept_for_the_end(60.0, 1.0, 9.0) == 15.0 and kept_for_the_end(60.0, 6.0, 9.0) == 24.0
    assert kept_for_the_end(300.0, 4.0, 9.0) == 60.0
    # 64 conformations of a large molecule take what they take.
    assert kept_for_the_end(120.0, 1.0, 70.0) == 70.0


def test_a_clock_goes_on_and_keeps_what_was_decided(tmp_path):
    clock = Budget(100.0, tmp_path / "plan.json")
    assert clock.decided("samples", lambda: 7) == 7
    clock.begun -= 40.0
    clock.keep()
    again = Budget(100.0, tmp_path / "plan.json")
    assert again.elapsed == pytest.approx(40.0, abs=1.0)
    assert again.left == pytest.approx(60.0, abs=1.0)
    assert again.decided("samples", lambda: 8) == 7


@pytest.fixture
def stages(monkeypatch):
    """Every verb writes down that it was called, and nothing else."""
    called = []

    def simulate(system, time, **options):
        called.append(("simulate", system.label, options["seconds"]))

    def prepare(folder, out, system):
        called.append(("prepare", system.label))
        return {
            "lacks": [], "split": {"held_out": [4, 5]}, "frames": {"train": 90, "validation": 30},
            "source": {"runs": [{"frames": 30}] * 6, "frame_interval_ps": 0.1},
        }  # fmt: skip

    def train(system, data, out, overrides, progress):
        called.append(("train", out.name, overrides))
        out.mkdir(exist_ok=True)
        write_text(out / "metrics.csv", "step,val/intact@4,seconds\n20,0.1,9.0\n40,0.5,2.0\n")
        return out / "checkpoint"

    def sample(checkpoint, **options):
        called.append(("sample", options["n"], options["seconds"]))
        write_json(options["out"].with_suffix(".json"), {"n": 320})

    def compare(ensemble, reference, out, **options):
        called.append(("compare", reference.name, options["account"]))
        return {"verdict": {"headline": "Poor."}, "statistics": {"reference_effective": 20.0}}

    def step_cost(system, data, words, enough=1.0):
        return StepCost(0.1, 64, 1000, 1.0)

    monkeypatch.setattr("molflow.md.simulate.simulate", simulate)
    monkeypatch.setattr("molflow.data.prepare.prepare", prepare)
    monkeypatch.setattr("molflow.training.run.train", train)
    monkeypatch.setattr("molflow.training.cost.step_cost", step_cost)
    monkeypatch.setattr("molflow.sampling.ensemble.sample", sample)

    def for_small_molecules(system, ensemble, out, seconds, progress):
        called.append(("conformers", out.name))

    monkeypatch.setattr("molflow.comparison.compare", compare)
    monkeypatch.setattr("molflow.ranked_conformers.for_small_molecules", for_small_molecules)
    monkeypatch.setattr(
        "molflow.setup.understanding.fastest_platform", lambda _: ("CPU", {"CPU": 5000.0})
    )
    return called


def test_stages_follow_each_other_and_all_is_decided_once(stages, tmp_path):
    result = run("alanine_dipeptide:heavy", tmp_path / "out", "10min", jobs=2)
    names = [name for name, *_ in stages]
    assert names == ["simulate", "prepare", "train", "sample", "compare", "conformers"]
    assert stages[0][1] == "alanine_dipeptide" and stages[1][1] == "alanine_dipeptide:heavy"
    assert stages[0][2] == pytest.approx(180.0, abs=5.0)
    words = dict(word.split("=") for word in stages[2][2])
    # An eighth short of the end at 600 s, as nothing was spent on dynamics.
    assert float(words["seconds"]) == pytest.approx(528.0, abs=5.0)
    assert int(words["steps"]) == pytest.approx(1.3 * 5280, rel=0.02)
    # Two fifths of all, as nothing was spent.
    assert stages[3][1] == 2000 and stages[3][2] == pytest.approx(240.0, abs=5.0)
    assert result["account"][-1].startswith("Sampling: 320 conformations with 8 network calls")
    learned = result["account"][2]
    assert "40 steps" in learned and "0.1 at first, 0.5 at last" in learned
    assert result["advice"][0].startswith("The held-out dynamics hold about 20 independent")
    assert read_json(tmp_path / "out/run.json") == result
    again = run("alanine_dipeptide:heavy", tmp_path / "out", "10min", jobs=2)
    names = [name for name, *_ in stages[6:]]
    assert names == ["simulate", "prepare", "sample", "compare", "conformers"]
    assert again["decided"] == result["decided"] | {"seconds": again["decided"]["seconds"]}
    with pytest.raises(MolflowError, match="was begun for another system, budget"):
        run("alanine_dipeptide:heavy", tmp_path / "out", "20min")


def test_a_training_set_takes_the_place_of_dynamics(stages, tmp_path):
    with pytest.raises(MolflowError, match="has no manifest.json"):
        run("alanine_dipeptide", tmp_path / "out", "10min", data=tmp_path)
    data, source = tmp_path / "data", tmp_path / "frames"
    for folder in (data, source):
        folder.mkdir()
    write_json(source / "simulation.json", {})
    manifest = {
        "lacks": ["few"], "split": {"held_out": [4]}, "frames": {"train": 9, "validation": 3},
        "source": {"runs": [{"frames": 30}] * 5, "frame_interval_ps": 1.0},
        "source_path": str(source),
    }  # fmt: skip
    write_json(data / "manifest.json", manifest)
    result = run("alanine_dipeptide", tmp_path / "new", "10min", data=data)
    assert [name for name, *_ in stages] == ["train", "sample", "compare", "conformers"]
    assert stages[-2][1] == "frames" and result["account"][0].startswith("Frames that were made")
    assert stages[-2][2][-1] == "few" and result["advice"][1] == "few"
    shutil.rmtree(source)
    with pytest.raises(MolflowError, match="prepare it again"):
        run("alanine_dipeptide", tmp_path / "other", "10min", data=data)


def test_the_command_line_ends_in_verdict_and_advice(stages, tmp_path):
    words = ["run", "alanine_dipeptide", "--budget", "2min", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "Poor." and lines[-1].startswith("Report in")
    assert any("Network of 32 scalars" in line for line in lines)


def test_advice_says_what_would_help_most():
    sound = {"statistics": {"reference_effective": 5000.0}}
    assert advice(sound, {"lacks": []}, 30_000)[0].startswith("More network calls")
    assert advice(sound, {"lacks": ["few"]}, 30_000) == ["few"]
    assert "Training took 500 steps" in advice(sound, {"lacks": []}, 500)[0]


def test_an_ensemble_is_usable_or_not_for_a_reason():
    checks = [
        {"aspect": "Energies", "level": "bad", "sentence": "Energies are off."},
        {"aspect": "Basins", "level": "good", "sentence": "None is missing."},
    ]  # fmt: skip
    good = {"level": "good", "headline": "Agrees.", "checks": checks[1:]}
    enough = {"statistics": {"reference_effective": 31.0}, "verdict": good}
    assert usability(enough) == good
    few = usability({"statistics": {"reference_effective": 29.0}, "verdict": good})
    assert few["level"] == "bad" and few["headline"].startswith(
        "Not usable because the molecular dynamics that were held out hold about 29 independent"
    )
    assert len(few["checks"]) == 2
    short = "The reference is too short to judge by: two parts differ."
    blurred = good | {"level": "unknown", "headline": f"{short} What these data can tell agrees."}
    found = usability({"statistics": {"reference_effective": 31.0}, "verdict": blurred})
    assert found["level"] == "bad"
    assert found["headline"] == f"Not usable because t{short[1:]}"
    bad = {"level": "bad", "headline": "Do not.", "checks": checks}
    found = usability({"statistics": {"reference_effective": None}, "verdict": bad})
    assert found["headline"] == "Not usable because energies are off."


def test_a_budget_that_is_too_short_for_the_least_is_refused_at_once(stages, tmp_path, monkeypatch):
    """A training step of 9 s for 64 molecules: ten of them, and 512 calls of one molecule."""
    dear = StepCost(9.0, 64, 1000, 3.0)
    monkeypatch.setattr("molflow.training.cost.step_cost", lambda *_, **__: dear)
    words = ["run", "alanine_dipeptide", "--out", str(tmp_path / "out"), "--jobs", "1"]
    result = CliRunner().invoke(cli.app, [*words, "--budget", "2min"])
    assert result.exit_code == 2 and not stages
    # 90 and 4.5 s of training, 72 and 4.5 s of the end, and replicas that begin in 1.5 s.
    assert "takes about 17" in result.stderr and "give 4min or more" in result.stderr
    assert "6 runs of dynamics" in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    result = CliRunner().invoke(cli.app, [*words, "--budget", "4min"])
    assert result.exit_code == 0 and [name for name, *_ in stages][0] == "simulate"


def test_the_least_of_dynamics_is_starts_descents_and_frames():
    plain, dear = load_system("alanine_dipeptide"), load_system("alanine_dipeptide_gfn2")
    steps = 31 * 5
    assert least_dynamics(plain, 0.01, 2.0, 1) == pytest.approx(2.0 + 0.06 * (30 + steps))
    assert least_dynamics(plain, 0.01, 2.0, 4) == pytest.approx(2.0 + 0.02 * (30 + steps))
    assert least_dynamics(dear, 0.01, 2.0, 6) == pytest.approx(2.0 + 0.01 * (72 + steps))


def test_dynamics_take_more_than_their_share_where_the_least_does(stages, tmp_path, monkeypatch):
    monkeypatch.setattr("molflow.least_work.least_dynamics", lambda *_: 100.0)
    run("alanine_dipeptide", tmp_path / "out", "3min", jobs=1)
    assert stages[0][2] == pytest.approx(100.0, abs=5.0)  # and not 54 s
    words = dict(word.split("=") for word in stages[2][2])
    assert float(words["seconds"]) == pytest.approx(180.0 - 21.6, abs=5.0)


def test_frames_that_are_made_up_are_of_what_is_learned():
    data = made_up(load_system("alanine_dipeptide:heavy"))
    assert data.train.shape == (64, 10, 3) and len(data.validation) == 0
    assert np.abs(data.train.mean(axis=1)).max() < 1e-6
    assert data.scale == pytest.approx(data.train.std(), rel=1e-5)
