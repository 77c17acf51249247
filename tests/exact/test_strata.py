"""Strata: the estimator on a toy with known answers, and the option on the whole molecule."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_maps import random_map
from typer.testing import CliRunner

from molflow.analysis.statistics import statistical_inefficiency
from molflow.cli import app
from molflow.errors import MolflowError
from molflow.exact.annealing import Schedule
from molflow.exact.strata import basin_numbers, choose, count_strata, parse_strata, strata_of
from molflow.exact.weighted import sample_weighted
from molflow.files import read_arrays
from molflow.maps.denoiser.draw import flow_blocks
from molflow.nn.graph import MolecularGraph
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint

SYSTEM = load_system("alanine_dipeptide")
CHECKPOINT = load_checkpoint("alanine_dipeptide")
TOY = replace(
    CHECKPOINT,
    flow_map=random_map(MolecularGraph.from_topology(SYSTEM.topology())).requires_grad_(False),
)
#: Of three states: what a proposal gives, and the target.
PROPOSAL, TARGET = np.array([0.70, 0.27, 0.03]), np.array([0.5, 0.2, 0.3])
WANTED = {"beta": 40, "alpha_r": 40, "alpha_l": 40}


def stratified(rng, n):
    """Return states and weights; a stratum tells the state of all but a tenth of the samples."""
    states = rng.choice(3, size=n, p=PROPOSAL)
    basins = np.where(rng.random(n) < 0.1, rng.integers(0, 3, size=n), states)
    numbers, log_factors = choose(basins, WANTED)
    states = states[numbers]
    weights = np.exp(log_factors) * (TARGET / PROPOSAL)[states]
    return states, weights, count_strata(basins, basins[numbers])


def test_means_over_strata_are_unbiased_though_strata_are_not_the_states():
    rng = np.random.default_rng(0)
    sums = []
    for _ in range(600):
        states, weights, counts = stratified(rng, 1000)
        assert len(states) <= 120 and sum(row["drawn"] for row in counts.values()) == 1000
        sums.append(np.bincount(states, weights, minlength=3) / 1000)
    sums = np.array(sums)
    error = sums.std(0) / 600**0.5
    assert (np.abs(sums.mean(0) - TARGET) < 4 * error).all() and (error < 0.01).all()


def test_shares_converge():
    rng = np.random.default_rng(2)
    several = [stratified(rng, 2000)[:2] for _ in range(200)]
    states = np.concatenate([part[0] for part in several])
    weights = np.concatenate([part[1] for part in several])
    shares = np.bincount(states, weights, minlength=3) / weights.sum()
    assert np.allclose(shares, TARGET, atol=0.02)


def test_no_basin_comes_before_another():
    basins = np.random.default_rng(1).choice(3, size=20_000, p=[0.6, 0.38, 0.02])
    numbers, factors = choose(basins, {"beta": 300, "alpha_r": 200, "alpha_l": 900})
    chosen = basins[numbers]
    rare = np.sum(basins == 2)
    assert np.bincount(chosen).tolist() == [300, 200, rare] and rare < 900
    assert len(set(numbers)) == len(numbers) and np.all(np.diff(numbers) > 0)
    for k in range(3):
        assert abs(numbers[chosen == k].mean() / len(basins) - 0.5) < 0.03
        assert np.exp(factors[chosen == k]).sum() == pytest.approx(np.sum(basins == k))
    series = (chosen == 2).astype(float)
    assert statistical_inefficiency(series) < 1.5


def test_the_rare_state_is_known_better_than_without_strata():
    rng = np.random.default_rng(3)

    def spread(of):
        return np.std([of() for _ in range(200)])

    def chosen():
        states, weights, _ = stratified(rng, 1000)
        return weights[states == 2].sum() / weights.sum()

    def plain():
        states = rng.choice(3, size=120, p=PROPOSAL)
        weights = (TARGET / PROPOSAL)[states]
        return weights[states == 2].sum() / weights.sum()

    assert spread(chosen) < 0.75 * spread(plain)


def test_all_of_a_basin_where_there_are_too_few():
    basins = np.array([0, 0, 2, 0, 1, 0])
    numbers, log_factors = choose(basins, {"beta": 2, "alpha_r": 5, "alpha_l": 1})
    assert numbers.tolist() == [0, 2, 3, 4]  # of β the first and the third of four
    assert np.allclose(np.exp(log_factors), [2, 1, 2, 1])


def test_places_are_those_of_the_flow_and_a_sample_is_the_same_with_and_without_strata(tmp_path):
    quick = {"steps": 1, "stop": 0.12, "progress": False, "jobs": 1, "path_seed": 4}
    quick |= {"schedule": Schedule(2, 4, 2, 0.4)}
    basins, seconds = strata_of(CHECKPOINT, 80, 1, 0.12, 4)
    assert basins.shape == (80,) and seconds > 0.0
    wanted = {"beta": 5, "alpha_r": 2, "alpha_l": 1}
    numbers, log_factors = choose(basins, wanted)
    out = tmp_path / "strata.dcd"
    trajectory, found = sample_weighted(CHECKPOINT, 80, out, strata=wanted, **quick)
    assert len(trajectory) == len(numbers) < 10
    counts = found["record"]["strata"]
    assert counts == count_strata(basins, basins[numbers])
    arrays = read_arrays(out.with_suffix(".npz"))
    assert np.allclose(arrays["log_factors"], log_factors)
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["n"] == len(numbers) and record["plan"]["strata"] == wanted
    assert record["weighted"]["strata"] == counts
    every, plain = sample_weighted(CHECKPOINT, 16, **quick)
    first = numbers[numbers < 16]
    assert len(first) > 2
    assert np.allclose(trajectory.xyz[: len(first)], every.xyz[first], atol=1e-4)
    ours = found["log_weights"][: len(first)] - log_factors[: len(first)]
    assert np.allclose(ours, plain["log_weights"][first], atol=0.05)


def test_the_stratum_is_the_basin_of_the_flows_end():
    basins, _ = strata_of(TOY, 70, 2, None, 5)
    with torch.no_grad():
        ends = flow_blocks(TOY.flow_map, range(2), 2, 5, 22)
    positions = CHECKPOINT.scale * ends.double().numpy()
    assert np.array_equal(basins, basin_numbers(positions, SYSTEM.topology())[:70])


@pytest.mark.parametrize("text", ["alpha_l=400", "beta=3,alpha_r=3,alpha_l=0", "a=1,b=2,c=3", ""])
def test_strata_that_cannot_be(text):
    with pytest.raises(MolflowError, match="give a number, at least 1, for every basin"):
        parse_strata(text)
    assert parse_strata("beta=1, alpha_r=2,alpha_l=30") == {"beta": 1, "alpha_r": 2, "alpha_l": 30}


def test_strata_need_weights(tmp_path):
    out = tmp_path / "ensemble.dcd"
    command = ["sample", "alanine_dipeptide", "-n", "2", "--out", str(out), "--strata", "beta=1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2 and "--weights is missing" in result.stderr
