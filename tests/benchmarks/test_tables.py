"""The tables of the benchmarks' README are those of the committed results."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))


def committed(name: str) -> tuple[dict, str]:
    """Return the results of a benchmark, and the text that is to have their tables."""
    results = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return results, (BENCHMARKS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [
    "strong_convergence", "stiff_ring", "cooling_law", "dynamics_objectives",
    "valence", "yardstick", "bias_choice",
])  # fmt: skip
def test_table_is_of_the_results(name):
    results, text = committed(name)
    table = importlib.import_module(name).table(results)
    assert len(table.splitlines()) > 4
    assert table in text


def test_the_table_of_sampling_speed_is_of_the_results():
    results, text = committed("sampling_speed")
    assert importlib.import_module("sampling_speed").table(results) in text


def test_tables_of_many_molecules_are_of_the_results():
    benchmark = importlib.import_module("many_molecules")
    results, text = committed("many")
    assert benchmark.cost_table(results) in text
    scores = benchmark.score_table(results)
    folder = BENCHMARKS.parent / "systems/capped_residues"
    for path in ("README.md", "../../docs/shipped_maps.md"):
        assert scores in (folder / path).read_text(encoding="utf-8")
    shipped = json.loads((folder / "checkpoint/model.json").read_text(encoding="utf-8"))
    assert scores in text and results["weights_sha256"]["unseen"] == shipped["weights_sha256"]
    seconds = results["summary"]["crossover"]["batching"]["seconds"]
    assert f"{seconds['alone'] / seconds['padded']:.2f}" in text
    for atoms, row in results["summary"]["crossover"]["atoms"].items():
        each = row["milliseconds_a_molecule"]
        assert (each["dense"] < each["sparse"]) == (int(atoms) <= 138)


def test_the_gain_of_a_start_is_by_when_each_is_as_good():
    gain = importlib.import_module("many_molecules").gain
    scratch = [(1.0, 0.6), (2.0, 0.5), (3.0, 0.4), (4.0, 0.45)]
    sooner = gain([(0.25, 0.5), (0.5, 0.4), (1.0, 0.3)], scratch)
    assert sooner["factor"] == 6.0 and not sooner["lower_bound"]
    assert gain([(0.25, 0.2)], scratch)["factor"] == 12.0
    assert gain([(0.25, 0.2)], scratch)["lower_bound"]
    assert gain([(3.0, 0.41)], scratch)["factor"] is None


@pytest.mark.parametrize("part", ["tripeptide", "tetrapeptide"])
def test_tables_of_alanine_peptides_are_of_the_results(part):
    benchmark = importlib.import_module("alanine_peptides")
    results, text = committed("many")
    folder = BENCHMARKS.parent / "systems" / benchmark.PEPTIDES[part]
    of_reference = benchmark.reference_table(results, part)
    assert benchmark.peptide_table(results, part) in text and of_reference in text
    assert of_reference in (folder / "README.md").read_text(encoding="utf-8")
    shipped = json.loads((folder / "checkpoint/model.json").read_text(encoding="utf-8"))
    assert results["weights_sha256"][part] == shipped["weights_sha256"]
    assert benchmark.published_table(results) in text


def test_tables_of_the_networks_are_of_the_results():
    networks = importlib.import_module("networks")
    results, text = committed("networks")
    assert networks.table(results) in text
    assert networks.training_table(results) in text
    kept = results["scaling_in_kept_memory"]
    for mode in ("forward", "forward_backward"):
        assert f"{kept[mode]['exponent']:.2f}" in text


def test_tables_of_alanine_dipeptide_are_of_the_results():
    benchmark = importlib.import_module("alanine_dipeptide")
    results, text = committed("alanine_dipeptide")
    assert benchmark.table(results) in text
    assert benchmark.beads_table(results) in text


def test_tables_of_dynamics_are_of_the_results():
    tables = importlib.import_module("dynamics_tables")
    results, text = committed("dynamics")
    assert tables.ensembles_table(results) in text
    assert tables.strong_table(results) in text
    shipped = BENCHMARKS.parent / "systems/alanine_dipeptide/checkpoint-dynamics/model.json"
    weights = json.loads(shipped.read_text(encoding="utf-8"))["weights_sha256"]
    assert results["checkpoint"]["weights_sha256"] == weights


#: Of results whose names are not those of their scripts.
SCRIPTS = {"many": "many_molecules", "gpu": "gpu/figures", "gpu_training": "gpu/train"}


def test_every_benchmark_has_a_line_and_a_result():
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    for result in (BENCHMARKS / "results").glob("*.json"):
        script = SCRIPTS.get(result.stem, result.stem)
        assert f"`python benchmarks/{script}.py" in text, result.stem
        found = json.loads(result.read_text(encoding="utf-8"))
        assert "summary" in found
        # One record of the making, or one for each part.
        for part in found.get("parts", {"all": found}).values():
            assert {"machine", "versions", "date"} <= part.keys()


def test_methods_of_the_yardstick_are_those_of_the_results():
    results, text = committed("yardstick")
    benchmark = importlib.import_module("yardstick")
    assert benchmark.methods_table(results) in text
    assert benchmark.regions_table(results) in text
