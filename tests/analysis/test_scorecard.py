import json

import numpy as np
import pytest
from synthetic import energies, measured, reference, trajectory

from molflow.analysis import scorecard
from molflow.analysis.observables import repeated_samples
from molflow.analysis.verdict import verdict
from molflow.errors import MolflowError


def score(samples, truth, seed=0, exact_transport=False):
    """Optimal transport takes seconds a score: only where it is looked at."""
    return scorecard.score(samples, truth, seed, exact_transport)


@pytest.fixture(scope="module")
def truth():
    return reference()


def samples(truth, n=600, seed=7, mean=-50.0, change=None, **kinds):
    xyz, known = trajectory(n, seed=seed, **kinds).xyz.copy(), energies(n, seed, mean)
    if change is not None:
        change(xyz, known)
    return measured(truth, xyz, energies=known)


@pytest.fixture(scope="module")
def perfect(truth):
    return score(samples(truth), truth, seed=1, exact_transport=True)


def test_a_perfect_sampler_sits_on_the_floor(perfect):
    for name, row in perfect["metrics"].items():
        low, high = row["interval"]
        spread = max(high - row["value"], 0.3 * row["floor"], 1e-12)
        assert abs(row["excess"]) < 2.5 * spread, name
        assert row["excess"] == pytest.approx(row["value"] - row["floor"])
        assert low <= row["value"] <= high
    assert perfect["metrics_valid"] is None
    assert verdict(perfect)["level"] == "good"


def test_sizes_are_stated(perfect):
    row = perfect["metrics"]["fes_rmse"]
    assert (row["n_model"], row["n_reference"]) == (600, 1000)
    assert (row["floor_n_model"], row["floor_n_reference"]) == (600, 1000)
    row = perfect["metrics"]["bond_w1"]
    assert (row["n_model"], row["n_reference"]) == (600, 250)
    assert (row["floor_n_model"], row["floor_n_reference"]) == (500, 250)


def test_deterministic_from_the_seed_and_json_safe(truth):
    first, again = (score(samples(truth), truth, seed=1) for _ in range(2))
    assert json.dumps(again, allow_nan=False) == json.dumps(first, allow_nan=False)
    assert score(samples(truth), truth, seed=2)["metrics"]["fes_rmse"]["interval"] != (
        first["metrics"]["fes_rmse"]["interval"]
    )


def levels(result):
    return {check["aspect"]: check["level"] for check in verdict(result)["checks"]}


def test_a_missing_basin_is_named(truth):
    result = score(samples(truth, alpha_l=0.0), truth)
    assert result["observables"]["delta_f_alpha_l"]["model"]["value"] is None
    assert result["metrics"]["fes_rmse"]["excess"] > 0.3
    found = verdict(result)
    assert found["level"] == "bad" and "αL (0.00%" in found["checks"][0]["sentence"]
    assert levels(result)["Free energy of αL"] == "bad"


def test_frozen_bonds_are_named(truth):
    # Half the noise: bonds have half the standard deviation.
    result = score(samples(truth, sd=0.0015), truth)
    assert result["metrics"]["bond_sd_error"]["value"] == pytest.approx(np.log(2), abs=0.06)
    assert levels(result)["Bond fluctuations"] == "bad"
    assert levels(result)["Free-energy map"] == "good"


def test_shifted_energies_are_named(truth):
    kt = 2.494338785
    result = score(samples(truth, mean=-50.0 + 3 * kt), truth)
    assert result["metrics"]["energy_w1"]["value"] == pytest.approx(3.0, abs=0.5)
    assert levels(result)["Energies"] == "bad"


def test_no_spread_of_huge_energies_hides_that_all_are_wrong(truth):
    """The distance hangs on one of them, and knows nothing beside its own error."""

    def change(_, known):
        known[:], known[0] = 1e4, 1e30

    result = score(samples(truth, change=change), truth)
    row = result["metrics"]["energy_w1"]
    assert row["excess"] < 1.3 * (row["interval"][1] - row["value"])
    assert result["metrics"]["energy_tail"]["value"] == 1.0
    assert levels(result)["Energies"] == "bad"


def test_shapes_are_not_good_where_no_sample_is_valid_otherwise(truth):
    def change(xyz, _):
        xyz *= 1.5

    result = score(samples(truth, change=change), truth)
    assert result["n_valid"] == 0
    assert levels(result)["Angles, planes and rings"] == "unknown"


def test_broken_samples_are_counted_and_scored_apart(truth):
    def change(xyz, known):
        xyz[:30] *= np.array([-1, 1, 1], np.float32)
        xyz[30:35] = np.nan
        known[30:35] = np.nan

    model = samples(truth, change=change)
    result = score(model, truth)
    assert (result["n"], result["n_finite"], result["n_valid"]) == (600, 595, 565)
    assert result["validity"]["wrong_hand"] == 30 and result["validity"]["not_finite"] == 5
    rows, valid = result["metrics"], result["metrics_valid"]
    assert rows["fes_rmse"]["n_model"] == 595 and valid["fes_rmse"]["n_model"] == 565
    assert rows["js_divergence"]["value"] > valid["js_divergence"]["value"]
    assert levels(result)["Validity and chirality"] == "bad"


def test_infinite_energies_are_told(truth):
    def change(_, known):
        known[:3] = np.inf

    model = samples(truth, change=change)
    result = score(model, truth)
    assert result["observables"]["energy"]["not_finite"] == 3
    assert result["metrics"]["energy_w1"]["n_model"] == 597
    assert levels(result)["Energies"] == "bad"


def test_beads_with_beta_carbon_see_the_mirror_and_five_do_not(truth):
    made = trajectory(200, seed=5)
    made.xyz[:50] *= np.array([-1, 1, 1], np.float32)
    for atoms, expected in (([4, 6, 8, 10, 14, 16], 50), ([4, 6, 8, 14, 16], None)):
        result = score(measured(truth, made.xyz[:, atoms], atoms), truth)
        assert result["validity"]["wrong_hand"] == expected
        assert "energy_w1" not in result["metrics"]
        assert levels(result)["Energies"] == "unknown"


def test_nothing_finite_is_an_error(truth):
    with pytest.raises(MolflowError, match="0 finite samples of 5"):
        score(measured(truth, np.full((5, 22, 3), np.nan, np.float32)), truth)


def test_copies_are_told_with_the_number_of_the_sample(truth):
    def change(xyz, _):
        xyz[2] = np.nan
        xyz[50:80] = xyz[7]

    result = score(samples(truth, change=change), truth)
    assert result["observables"]["repeated"] == {"copies": 30, "most": 31, "sample": 7}
    assert levels(result)["Repeated samples"] == "bad"
    sentence = next(
        c["sentence"] for c in verdict(result)["checks"] if c["aspect"] == "Repeated samples"
    )
    assert "sample 7 occurs 31 times" in sentence


def test_of_equally_frequent_copies_the_first_is_named():
    marks = np.array([9, 5, 2, 5, 2, 7])
    for turned in (marks, -marks):
        found = repeated_samples(turned, np.arange(10, 16))
        assert found == {"copies": 2, "most": 2, "sample": 11}
    assert repeated_samples(marks[:3], np.arange(3))["sample"] == 0


def test_an_ensemble_of_one_frame_is_bad_and_breaks_nothing(truth):
    one = np.repeat(trajectory(1, seed=3).xyz, 300, axis=0)
    result = score(measured(truth, one, energies=np.full(300, -50.0)), truth)
    json.dumps(result, allow_nan=False)
    found = verdict(result)
    assert found["level"] == "bad" and levels(result)["Repeated samples"] == "bad"
    assert levels(result)["Bond fluctuations"] == "bad"


def test_broken_bonds_do_not_make_the_others_look_soft(truth):
    def change(xyz, _):
        xyz[::40, 0] += xyz[::40, 0] - xyz[::40, 1]  # twice the length

    result = score(samples(truth, change=change), truth)
    assert levels(result)["Bond fluctuations"] == "good"
    assert levels(result)["Validity and chirality"] == "bad"
