"""The figures of the README and of the pages are those of the committed benchmark output."""

import importlib
import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "benchmarks/alanine_dipeptide.py"
RESULTS = ROOT / "benchmarks/results/alanine_dipeptide.json"


def test_table_of_results_is_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("alanine_dipeptide", SCRIPT)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    for page in ("README.md", "docs/shipped_maps.md"):
        assert benchmark.quality_table(results) in (ROOT / page).read_text(encoding="utf-8")


def test_table_of_dynamics_is_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tables = importlib.import_module("dynamics_tables")
    results = json.loads((ROOT / "benchmarks/results/dynamics.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/shipped_maps.md").read_text(encoding="utf-8")
    assert tables.ensembles_table(results) in page


def test_benchmark_is_of_the_shipped_checkpoint():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    shipped = ROOT / "systems/alanine_dipeptide/checkpoint/model.json"
    weights = json.loads(shipped.read_text(encoding="utf-8"))["weights_sha256"]
    assert results["checkpoints"]["all_atom"] == weights
