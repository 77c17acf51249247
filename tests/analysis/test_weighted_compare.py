"""Weighted ensembles and references from file to report."""

import json
import re
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
from synthetic import TOPOLOGY, conformations, energies, measured, reference, trajectory

from molflow import resample
from molflow.analysis import scorecard
from molflow.analysis.files.reference_file import reference_from_trajectory
from molflow.analysis.kinetics.frame_times import FrameTimes
from molflow.analysis.kinetics.time_series import time_ordered
from molflow.analysis.metrics import registry
from molflow.analysis.metrics.entry import Metric
from molflow.analysis.reference import load_reference
from molflow.analysis.reporting.figure_files import _cells
from molflow.analysis.verdict import verdict
from molflow.comparison import compare, format_table
from molflow.errors import MolflowError
from molflow.files import sha256_of

#: Shares of the wells of `flattened`, where the law of `synthetic.torsion_samples` has 5 % alpha-L.
FLAT, LAW = np.array([0.3, 0.3, 0.4]), np.array([0.57, 0.38, 0.05])


def flattened(n, seed):
    """Return positions from a law with much alpha-L, and exact weights of the law with 5 %."""
    rng = np.random.default_rng(seed)
    centres = np.array([[-1.9, 2.5], [-1.3, -0.4], [1.0, 0.6]])
    well = rng.choice(3, size=n, p=FLAT)
    torsions = centres[well] + rng.normal(scale=0.25, size=(n, 2))
    xyz = conformations((torsions + np.pi) % (2 * np.pi) - np.pi, 0.003, seed + 1)
    return xyz.astype(np.float32), (LAW / FLAT)[well]


@pytest.fixture(scope="module")
def truth():
    return reference()


def judged(truth, xyz, weights=None, u=None, **options):
    samples = measured(truth, xyz, energies=u)
    if weights is not None:
        samples = replace(samples, weights=weights / weights.sum())
    return scorecard.score(samples, truth, 0, options.pop("exact_transport", False), **options)


@pytest.fixture(scope="module")
def weighted(truth):
    xyz, w = flattened(900, 21)
    return judged(truth, xyz, w, energies(900, 3), exact_transport=True)


def test_a_flattened_law_with_exact_weights_is_on_the_floor(weighted, truth):
    for name, row in weighted["metrics"].items():
        spread = max(row["interval"][1] - row["value"], 0.3 * row["floor"], 1e-12)
        assert abs(row["excess"]) < 2.5 * spread, name
    assert verdict(weighted)["level"] == "good"
    low, high = weighted["observables"]["delta_f_alpha_l"]["model"]["interval"]
    assert low < np.log(0.95 / 0.05) < high
    # The same frames without weights are another law.
    plain = judged(truth, flattened(900, 21)[0])
    assert plain["metrics"]["fes_rmse"]["excess"] > 0.4 and verdict(plain)["level"] == "bad"
    assert "weights" not in plain and "n_model_effective" not in plain["metrics"]["fes_rmse"]


def test_sizes_and_floors_are_those_that_the_weights_are_worth(weighted):
    expected = 1 / np.sum(LAW**2 / FLAT)  # of n
    found = weighted["weights"]["model"]
    assert found["n"] == 900 and found["effective_share"] == pytest.approx(expected, abs=0.04)
    assert weighted["weights"]["reference"] is None
    row = weighted["metrics"]["fes_rmse"]
    assert row["n_model"] == 900
    assert row["n_model_effective"] == pytest.approx(found["effective"])
    assert row["floor_n_model"] == round(found["effective"]) == row["floor_n_model_effective"]
    for basin in found["basins"].values():
        assert basin["effective"] == pytest.approx(basin["samples"])  # equal weights inside
    assert json.dumps(weighted, allow_nan=False)


def test_shares_and_errors_of_basins(weighted):
    for basin, share in zip(("beta", "alpha_r", "alpha_l"), LAW, strict=True):
        entry = weighted["observables"]
        (errors,) = (r["basin_errors"]["model"] for r in entry["residues"].values())
        assert entry["basins"]["model"][basin] == pytest.approx(share, abs=4 * errors[basin])
    # 40 % of the frames carry 5 % of the weight: the error is far below that of 5 % of the worth.
    worth = weighted["weights"]["model"]["effective"]
    assert errors["alpha_l"] < 0.6 * np.sqrt(0.05 * 0.95 / worth)


def test_a_weighted_reference(truth):
    xyz, w = flattened(3000, 31)
    keep = np.arange(0, 3000, 4)
    own = replace(
        truth, torsions=measured(truth, xyz).torsions, positions=xyz[keep],
        log_weights=np.log(w) + 12.0,
    )  # fmt: skip
    result = judged(own, trajectory(600, seed=9).xyz, u=energies(600, 3), exact_transport=True)
    assert verdict(result)["level"] == "good"
    assert "tica_w2" not in result["metrics"] and "do in time" in result["not_scored"]["tica_w2"]
    assert abs(result["metrics"]["pca_w2"]["excess"]) < 0.25
    share = 1 / np.sum(LAW**2 / FLAT)
    row = result["metrics"]["fes_rmse"]
    assert row["n_reference_effective"] == pytest.approx(1000 * share, rel=0.05)
    # As many weighted frames as are worth the model's 600.
    assert row["floor_n_model"] == pytest.approx(600 / share, rel=0.05)
    assert row["floor_n_model_effective"] == pytest.approx(600, rel=0.01)
    times = FrameTimes(1.0, np.zeros(600, int), True)
    timed = judged(own, trajectory(600, seed=9).xyz, times=times)
    assert "relaxation_error" in timed["not_scored"]
    with pytest.raises(MolflowError, match="weighted: its runs moved under a bias"):
        time_ordered(own)


def test_repeated_frames_and_whole_weights_give_the_same_shares(truth):
    xyz, _ = flattened(300, 5)
    xyz[::7, :, 0] *= -1
    times = np.random.default_rng(0).integers(1, 4, 300)
    u = energies(300, 1)
    one = judged(truth, xyz, times.astype(float), u)
    other = judged(truth, np.repeat(xyz, times, axis=0), u=np.repeat(u, times))
    (a,), (b,) = (r["observables"]["residues"].values() for r in (one, other))
    assert a["basins"]["model"] == pytest.approx(b["basins"]["model"], rel=1e-9)
    value = a["delta_f_alpha_l"]["model"]["value"]
    assert value == pytest.approx(b["delta_f_alpha_l"]["model"]["value"], rel=1e-9)
    for name, row in one["metrics"].items():
        exact = other["metrics"][name]["value"]
        assert row["value"] == pytest.approx(exact, rel=1e-5, abs=1e-6), name
    for name, row in one["metrics_valid"].items():
        exact = other["metrics_valid"][name]["value"]
        assert row["value"] == pytest.approx(exact, rel=1e-5, abs=1e-6), name
    counts = other["validity"]
    assert one["validity"]["wrong_hand"] == 43
    for key, share in one["validity"]["shares"].items():
        assert share == pytest.approx(counts[key] / counts["samples"], rel=1e-9), key
    for x, y in zip(one["geometry"], other["geometry"], strict=True):
        assert x["sd_model"] == pytest.approx(y["sd_model"], rel=1e-5)
        assert x["w1"] == pytest.approx(y["w1"], rel=1e-4, abs=1e-9)
    for x, y in zip(one["observables"]["torsions"], other["observables"]["torsions"], strict=True):
        assert [w["model"] for w in x["wells"]] == pytest.approx([w["model"] for w in y["wells"]])
    keys = ("mean", "sd")
    sides = [r["observables"]["energy"]["model"] for r in (one, other)]
    assert [sides[0][k] for k in keys] == pytest.approx([sides[1][k] for k in keys])


def test_bad_weights_are_told_by_the_verdict(truth):
    xyz, w = flattened(900, 21)
    heavy = w * np.random.default_rng(2).pareto(0.7, 900)
    found = {c["aspect"]: c for c in verdict(judged(truth, xyz, heavy))["checks"]}
    assert found["Weights"]["level"] == "bad" and "tail index" in found["Weights"]["sentence"]


def test_a_foreign_metric_is_left_out_with_a_sentence(truth, monkeypatch):
    foreign = Metric(
        "mean_shift", "Mean", "energies", "kT", "Difference of the means.", "test",
        lambda model, reference, _: abs(float(model.mean() - reference.mean())),
    )  # fmt: skip
    monkeypatch.setattr(registry, "METRICS", {**registry.METRICS, "mean_shift": foreign})
    xyz, w = flattened(300, 21)
    assert "mean_shift" in judged(truth, xyz, None, energies(300, 3))["metrics"]
    result = judged(truth, xyz, w, energies(300, 3))
    assert "mean_shift" not in result["metrics"]
    assert result["not_scored"]["mean_shift"] == "It does not take weights."


def test_samples_without_weight_do_not_count(truth):
    xyz, w = flattened(400, 8)
    w[:100] = 0
    some = judged(truth, xyz, w)
    fewer = judged(truth, xyz[100:], w[100:])
    for name in ("fes_rmse", "pmf_error", "torsion_misplaced_worst", "bond_w1"):
        assert some["metrics"][name]["value"] == pytest.approx(
            fewer["metrics"][name]["value"], rel=1e-6
        )
    xyz[50] = np.nan
    xyz[100:] = np.nan
    with pytest.raises(MolflowError, match="weights are all zero"):
        judged(truth, xyz, w)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weighted")
    reference(frames=1500).save(folder / "ref")
    xyz, w = flattened(400, 41)
    made = mdtraj.Trajectory(xyz, TOPOLOGY)
    made.save_dcd(str(folder / "flat.dcd"))
    made[:1].save_pdb(str(folder / "topology.pdb"))
    np.savez(folder / "weights.npz", log_weights=np.log(w) - 3)
    np.savetxt(folder / "weights.txt", w)
    return folder


def test_report_with_weights(folder, tmp_path):
    result = compare(
        folder / "flat.dcd", folder / "ref", tmp_path / "report.html",
        weights=folder / "weights.txt", exact_transport=False,
    )  # fmt: skip
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Weights</h2>" in page and "(worth)" in page and "of the weight" in page
    worth = f"{result['weights']['model']['effective']:,.0f}"
    assert re.search(rf"are worth {worth} of 400 equal ones", page)
    assert f"worth {worth} and 500" in format_table(result)
    assert _cells(result["metrics"]["fes_rmse"])[-2:] == (f"{worth} / 500", f"{worth} / 500")
    shares = {c["name"]: c["model"] for c in result["clusters"]["clusters"]}
    for name, share in zip(("β", "αR", "αL"), LAW, strict=True):
        assert shares[name]["share"] == pytest.approx(share, abs=4 * shares[name]["error"])


def record(folder, **more):
    (folder / "flat.json").write_text(
        json.dumps({"trajectory_sha256": sha256_of(folder / "flat.dcd")} | more)
    )


def test_weights_of_the_sidecar_and_of_hdf5_are_found(folder, tmp_path):
    for name in ("flat.dcd", "topology.pdb"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    stored = np.load(folder / "weights.npz")["log_weights"]
    np.savez(tmp_path / "flat.npz", log_weights=stored)
    options = {"exact_transport": False}
    alone = compare(tmp_path / "flat.dcd", folder / "ref", **options)
    assert "weights" not in alone
    assert any("flat.npz beside the ensemble holds weights" in note for note in alone["notes"])
    record(tmp_path)
    told = compare(
        folder / "flat.dcd", folder / "ref", weights=folder / "weights.npz", **options
    )["weights"]["model"]
    assert compare(tmp_path / "flat.dcd", folder / "ref", **options)["weights"]["model"] == told
    # Damaged, the record says that they belong: no silent way back to equal weights.
    np.savez(tmp_path / "flat.npz", log_weights=stored[:-1])
    with pytest.raises(MolflowError, match=r"shape \(399,\), and it has 400"):
        compare(tmp_path / "flat.dcd", folder / "ref", **options)
    import tables

    whole = mdtraj.load(str(folder / "flat.dcd"), top=str(folder / "topology.pdb"))
    whole.save_hdf5(str(tmp_path / "flat.h5"))
    with tables.open_file(str(tmp_path / "flat.h5"), "a") as file:
        file.create_array("/", "log_weights", stored)
    (tmp_path / "flat.json").unlink()
    (tmp_path / "flat.npz").unlink()
    assert compare(tmp_path / "flat.h5", folder / "ref", **options)["weights"]["model"] == told
    assert reference_from_trajectory(tmp_path / "flat.h5").weights is not None


def test_weights_of_a_reference_folder_and_of_the_option(folder, tmp_path):
    truth = load_reference(folder / "ref")
    logs = np.random.default_rng(0).normal(scale=0.3, size=1500)
    replace(truth, log_weights=logs).save(tmp_path / "ref")
    assert np.array_equal(load_reference(tmp_path / "ref").log_weights, logs)
    made, options = trajectory(200, seed=9), {"exact_transport": False}
    stored = compare(made, tmp_path / "ref", **options)
    given = compare(made, folder / "ref", reference_weights=np.exp(logs), **options)
    assert stored["metrics"]["fes_rmse"]["value"] == pytest.approx(
        given["metrics"]["fes_rmse"]["value"], rel=1e-9
    )
    with pytest.raises(MolflowError, match="the reference have the shape"):
        compare(made, folder / "ref", reference_weights=np.ones(200), **options)
    with pytest.raises(MolflowError, match="not finite"):
        replace(truth, log_weights=np.full(1500, np.nan))


def test_resampled_ensembles_keep_shares_and_say_what_was_copied(folder, tmp_path):
    out = tmp_path / "drawn" / "drawn.dcd"
    made = resample(folder / "flat.dcd", out, weights=folder / "weights.npz")
    found = made["resampled"]
    drawn = mdtraj.load(str(out), top=str(out.with_name("topology.pdb")))
    rows = np.load(out.with_suffix(".npz"))["drawn"]
    assert found["n"] == len(drawn) == round(found["effective"]) == len(rows)
    assert found["distinct"] + found["copies"] == found["n"]
    assert found["most"] == np.bincount(rows).max() and found["distinct"] == len(np.unique(rows))
    flat = mdtraj.load(str(folder / "flat.dcd"), top=str(folder / "topology.pdb"))
    assert np.array_equal(drawn.xyz, flat.xyz[rows])
    w = np.exp(np.load(folder / "weights.npz")["log_weights"])
    expected = found["n"] * w / w.sum()
    assert np.all(np.abs(np.bincount(rows, minlength=400) - expected) < 1)
    again = resample(folder / "flat.dcd", out, weights=folder / "weights.npz")
    assert again == made
    result = compare(out, folder / "ref", exact_transport=False)
    levels = {c["aspect"]: c["level"] for c in result["verdict"]["checks"]}
    assert levels["Repeated samples"] == "fair" and result["metrics"]["fes_rmse"]["excess"] < 0.2


def test_resampling_refuses_what_it_should(folder, tmp_path):
    weights = folder / "weights.npz"
    with pytest.raises(MolflowError, match="brings no weights"):
        resample(folder / "flat.dcd", tmp_path / "a.dcd")
    before = (folder / "flat.dcd").read_bytes()
    with pytest.raises(MolflowError, match="was not resampled"):
        resample(folder / "flat.dcd", folder / "flat.dcd", weights=weights)
    assert (folder / "flat.dcd").read_bytes() == before
    with pytest.raises(MolflowError, match="n is 0"):
        resample(folder / "flat.dcd", tmp_path / "a.dcd", 0, weights=weights)
    trajectory(1).atom_slice(range(10)).save_pdb(str(tmp_path / "topology.pdb"))
    with pytest.raises(MolflowError, match="of other atoms"):
        resample(folder / "flat.dcd", tmp_path / "a.dcd", weights=weights)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["topology.pdb"]
