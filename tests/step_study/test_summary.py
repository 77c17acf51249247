"""The summary of a study, recomputed from what the benchmark stored of every seed."""

import json
from pathlib import Path

import numpy as np
import pytest

from molflow.step_study.figure import draw
from molflow.step_study.summary import figures, summarise, table

RESULTS = Path(__file__).parents[2] / "benchmarks/results/alanine_dipeptide.json"


@pytest.fixture(scope="module")
def stored():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    return results | {"per_seed": results["per_seed"]["molflow"]}


def test_the_stored_summary_follows_from_the_stored_seeds(stored):
    for nfe, rows in stored["per_seed"].items():
        again = summarise(rows)
        for name, value in stored["summary"]["all_atom"][nfe].items():
            if name == "angle_sd_ratio":
                continue  # which a study does not tell
            if name == "basins":
                for side in value:
                    assert again[name][side] == pytest.approx(value[side], rel=1e-12)
            else:
                assert again[name] == pytest.approx(value, rel=1e-12), (nfe, name)


def test_means_and_spreads_are_those_of_the_seeds(stored):
    rows = stored["per_seed"]["4"]
    values = [row["fes_rmse"]["value"] for row in rows]
    found = summarise(rows)
    assert found["fes_rmse"] == pytest.approx(sum(values) / 3)
    assert found["fes_rmse_sd"] == pytest.approx(np.sqrt(np.var(values) * 3 / 2))
    assert found["wrong_hand"] == sum(row["wrong_hand"] for row in rows)
    assert summarise(rows[:1])["fes_rmse_sd"] is None


def coarse(row):
    """The same row as it would be of an ensemble without hydrogens, energies and hand."""
    kept = {name: value for name, value in row.items() if not name.startswith("energy")}
    return kept | {"wrong_hand": None, "bond_sd_ratio": None}


def test_what_does_not_apply_is_none_and_is_shown_as_a_dash(stored):
    found = summarise([coarse(row) for row in stored["per_seed"]["4"]])
    assert found["energy_w2"] is None and found["wrong_hand"] is None
    assert found["fes_rmse"] > 0
    line = table({"4": found}, 12000).splitlines()[-1]
    start = f"| 4 | {found['fes_rmse']:.2f} ({found['fes_floor']:.2f}) |"
    assert line.startswith(start) and line.endswith("| – |") and "| – (–) | – |" in line


def test_figures_of_a_comparison():
    ratios = [0.9, 1.2, None, 1.0]
    result = {
        "n": 50,
        "metrics": {"fes_rmse": {"value": 0.3, "floor": 0.1, "unit": "kT", "excess": 0.2}},
        "geometry": [{"kind": "bond", "sd_ratio": ratio} for ratio in ratios]
        + [{"kind": "angle", "sd_ratio": 7.0}],
        "validity": {"valid": 49, "wrong_hand": 1},
        "observables": {"basins": {}, "delta_f_alpha_l": {}},
    }
    found = figures(result)
    assert found["fes_rmse"] == {"value": 0.3, "floor": 0.1, "unit": "kT"}
    assert "energy_w2" not in found and found["valid"] == 0.98
    assert found["bond_sd_ratio"] == {"median": 1.0, "lowest": 0.9, "highest": 1.2}


def test_figure_has_a_panel_for_what_applies(stored):
    quality = {nfe: summarise(rows) for nfe, rows in stored["per_seed"].items()}
    closeness = {nfe: {"mean": 0.05 / int(nfe)} for nfe in quality}
    closeness |= {"unrelated": {"mean": 0.08}, "finest": 64}
    summary = stored["summary"] | {"quality": quality, "same_path_rmsd_nm": closeness}
    axes = draw(summary).axes
    assert [panel.get_ylabel().partition(":")[0] for panel in axes][:2] == [
        "free-energy map", "energies",
    ]  # fmt: skip
    steps, values = axes[0].lines[0].get_data()
    assert list(steps) == stored["steps"] and steps[2] == 4
    assert values[2] == summary["all_atom"]["4"]["fes_rmse"]
    floor = axes[0].lines[-1].get_ydata()
    assert floor[2] == summary["all_atom"]["4"]["fes_floor"]
    bare = {nfe: summarise([coarse(row) for row in rows]) for nfe, rows in
            stored["per_seed"].items()}  # fmt: skip
    assert len(draw(summary | {"quality": bare}).axes) == 2


def test_a_molecule_without_phi_and_psi_is_told_by_its_torsions(stored):
    row = coarse(stored["per_seed"]["4"][0])
    row = {name: value for name, value in row.items() if "fes" not in name} | {
        "torsion_js_distance": {"value": 0.25, "floor": 0.05, "unit": "√nats"}, "basins": None,
    }  # fmt: skip
    found = summarise([row, row])
    assert found["torsion_js_distance"] == 0.25 and found["basins"] is None
    assert "| 4 | 0.25 (0.05) | " in table({"4": found}, 100)
    assert "torsion_js_distance" in table({"4": found}, 100).splitlines()[0]
    closeness = {"4": {"mean": 0.01}, "unrelated": {"mean": 0.08}, "finest": 64}
    panels = draw({"quality": {"4": found}, "same_path_rmsd_nm": closeness}).axes
    assert panels[0].get_ylabel().startswith("torsions one by one")
