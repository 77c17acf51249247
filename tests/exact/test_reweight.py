"""`reweight`: shares of basins of a toy with known answers, dynamics inside, and the whole verb."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from molflow.cli import app
from molflow.errors import MolflowError
from molflow.exact.annealing import Schedule
from molflow.exact.basin_ratios import Forward, Side, basin_shares
from molflow.exact.inside import InsideWalker
from molflow.exact.reweight import format_reweighted, reweight
from molflow.exact.strata import basin_numbers, choose
from molflow.exact.weighted import sample_weighted
from molflow.files import read_arrays
from molflow.md.energies import potential_energies
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint

SYSTEM = load_system("alanine_dipeptide")
CHECKPOINT = load_checkpoint("alanine_dipeptide")
PROPOSAL, TARGET = np.array([0.6, 0.37, 0.03]), np.array([0.7, 0.25, 0.05])
WANTED = {"beta": 200, "alpha_r": 200, "alpha_l": 200}
NOISE = 0.8


def draws(n, rng, hidden=0.0):
    """Weights of a toy whose noise in ln w is Gaussian, so that the backward law is known.

    Of a share `hidden` of the rare basin the proposal knows nothing.
    """
    basins = rng.choice(3, size=n, p=PROPOSAL)
    numbers, factors = choose(basins, WANTED)
    basins = basins[numbers]
    levels = np.log(TARGET / PROPOSAL) + np.log1p([0.0, 0.0, -hidden])
    log_weights = rng.normal(levels[basins] - NOISE**2 / 2, NOISE) + 7.0
    empty = np.zeros((len(basins), 1, 3))
    forward = Forward(empty, np.zeros(len(basins)), log_weights, factors, basins)
    sides = {}
    for b in range(3):
        # Over the target, ln w of Gaussian noise is shifted up by its variance.
        back = rng.normal(levels[b] + NOISE**2 / 2, NOISE, 150) + 7.0
        if b == 2 and hidden:
            back[rng.random(150) < hidden] = 30.0  # the proposal hardly ever goes there
        sides[b] = Side(np.zeros((150, 1, 3)), np.zeros(150), back, np.zeros(150), np.zeros(150))
    return forward, sides


def test_shares_and_their_intervals():
    rng = np.random.default_rng(0)
    far, energies = [], -np.log(TARGET / (1 - TARGET))
    for k in range(12):
        record, log_weights = basin_shares(*draws(20_000, rng), seed=k)
        rows = list(record["basins"].values())
        assert not record["doubts"] and np.exp(log_weights).sum() == pytest.approx(1.0)
        far += [
            (row["free_energy"] - true) / row["free_energy_error"]
            for row, true in zip(rows, energies, strict=True)
        ]
        # Draws decide the share of the rare basin: 1/sqrt(600), and the two sides in it.
        assert 0.04 < rows[2]["free_energy_error"] < 0.12
    assert 0.5 < np.std(far) < 1.5 and np.abs(far).max() < 4.0


def test_pooled_weights_have_the_shares():
    forward, sides = draws(20_000, np.random.default_rng(1))
    record, log_weights = basin_shares(forward, sides, seed=0)
    basins = np.concatenate([forward.basins, *(np.full(150, b) for b in sides)])
    weights = np.exp(log_weights)
    for b, row in enumerate(record["basins"].values()):
        assert weights[basins == b].sum() == pytest.approx(row["share"], abs=1e-8)


def test_what_the_map_draws_too_often_is_said():
    forward, sides = draws(20_000, np.random.default_rng(6))
    record, _ = basin_shares(forward, sides, seed=0)
    for k, row in enumerate(record["basins"].values()):
        own, true = PROPOSAL[k] / (1 - PROPOSAL[k]), TARGET[k] / (1 - TARGET[k])
        assert abs(row["bias"] - np.log(true / own)) < 3.5 * row["bias_error"]
        assert 0.02 < row["bias_error"] < 0.12
    rare = record["corrected"][2]
    assert "draws αL 0." in rare and "a free energy 0." in rare and "too high" in rare
    assert rare in format_reweighted(record) and not record["doubts"]


def test_what_the_map_misses_inside_a_basin_is_seen():
    said = 0
    for seed in range(4):
        forward, sides = draws(20_000, np.random.default_rng(seed), hidden=0.65)
        record, _ = basin_shares(forward, sides, seed=0)
        row = record["basins"]["alpha_l"]
        said += any("misses a part" in sentence for sentence in record["doubts"])
        true = -np.log(0.05 / 0.95)
        weighted = row["free_energy"] + row["log_ratio"] - row["forward"]
        assert abs(row["free_energy"] - true) < 0.5 * abs(weighted - true)
    assert said >= 3


def test_a_basin_without_samples_is_said_to_be_missing():
    forward, sides = draws(20_000, np.random.default_rng(3))
    kept = forward.basins != 2
    less = replace(
        forward, **{name: values[kept] for name, values in vars(forward).items()}
    )  # fmt: skip
    record, log_weights = basin_shares(less, sides, seed=0)
    assert record["basins"]["alpha_l"]["share"] is None
    assert any("a part of the molecule's" in sentence for sentence in record["doubts"])
    assert "αL: share unknown" in format_reweighted(record)
    assert np.exp(log_weights).sum() == pytest.approx(1.0)
    without = {b: side for b, side in sides.items() if b != 2}
    record, _ = basin_shares(less, without, seed=0)
    assert any("Give conformations of it as starts" in one for one in record["doubts"])
    with pytest.raises(MolflowError, match="shares are of two at least"):
        basin_shares(less, {2: sides[2]}, seed=0)


def test_frames_that_the_map_never_reaches_are_counted():
    forward, sides = draws(20_000, np.random.default_rng(4))
    sides[1].log_weights[:20] = np.inf
    record, _ = basin_shares(forward, sides, seed=0)
    assert record["basins"]["alpha_r"]["never_reached"] == 20
    assert any("20 of 150 frames" in sentence for sentence in record["doubts"])


def test_a_single_frame_that_the_map_reaches_gives_an_interval():
    """Of draws with and without it, those without have no ratio and tell of no spread."""
    forward, sides = draws(20_000, np.random.default_rng(5))
    sides[2].log_weights[1:] = np.inf
    row = basin_shares(forward, sides, seed=0)[0]["basins"]["alpha_l"]
    assert row["never_reached"] == 149
    low, high = row["free_energy_interval"]
    assert low < row["free_energy"] < high and np.isfinite(row["free_energy_error"])


def test_dynamics_stays_inside_and_is_reproducible():
    start = SYSTEM.start_positions().astype(np.float64)

    def inside(positions):  # a wall through where the molecule is
        return np.linalg.norm(positions[4] - positions[16]) < 0.49

    length = np.linalg.norm(start[4] - start[16])
    assert length < 0.49
    walker = InsideWalker(SYSTEM, inside)
    place, undone = walker.walk(start, 12, 1)
    again, _ = walker.walk(start, 12, 1)
    assert inside(place) and np.array_equal(place, again) and 0 <= undone < 12
    assert not np.allclose(place, start, atol=1e-3)
    everything = InsideWalker(SYSTEM, lambda _: False).walk(start, 3, 1)
    assert np.array_equal(everything[0], start) and everything[1] == 3


def test_the_whole_verb(tmp_path):
    source, out = tmp_path / "weighted.dcd", tmp_path / "both.dcd"
    quick = {"steps": 2, "schedule": Schedule(2, 4, 2, 0.4), "jobs": 1, "progress": False}
    trajectory, _ = sample_weighted(CHECKPOINT, 48, source, path_seed=1, **quick)
    pooled, found = reweight(CHECKPOINT, source, out, frames=16, time=0.5, jobs=1, progress=False)
    arrays = read_arrays(out.with_suffix(".npz"))
    assert pooled.n_frames == len(arrays["log_weights"]) >= 48 + 32
    assert np.allclose(pooled.xyz[:48], trajectory.xyz, atol=1e-6)
    assert found["record"]["cpu_seconds"] > 0.0 and np.isfinite(arrays["log_ratios"][48:]).any()
    again = potential_energies(SYSTEM, pooled.xyz[48:])
    assert np.allclose(again, arrays["energies"][48:], atol=0.05)
    rows = found["record"]["basins"]
    known = {name: row for name, row in rows.items() if row["share"] is not None}
    assert {"beta", "alpha_r"} <= set(known)
    assert sum(row["share"] for row in known.values()) == pytest.approx(1.0)
    basins = basin_numbers(pooled.xyz[48:], pooled.topology)
    assert (np.bincount(basins, minlength=3)[:2] == 16).all()
    # All but few frames are reached by a flow of two jumps.
    assert all(row["never_reached"] <= 3 for row in known.values())
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["reweighted"] == found["record"] and record["n"] == pooled.n_frames
    same, _ = reweight(CHECKPOINT, source, out, frames=16, time=0.5, jobs=1, progress=False)
    assert np.allclose(same.xyz, pooled.xyz, atol=1e-6)
    assert not list(tmp_path.glob(".*"))
    arguments = [
        "reweight", "alanine_dipeptide", str(source), "--out", str(source), "--frames", "16"
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "the ensemble itself" in result.stderr


def test_refusals(tmp_path):
    plain = tmp_path / "plain.pdb"
    SYSTEM.topology()
    import mdtraj

    mdtraj.Trajectory(SYSTEM.start_positions()[None], SYSTEM.topology()).save_pdb(str(plain))
    with pytest.raises(MolflowError, match="has no weights of a map"):
        reweight(CHECKPOINT, plain, progress=False)
    with pytest.raises(MolflowError, match="frames is 1"):
        reweight(CHECKPOINT, plain, frames=1, progress=False)
