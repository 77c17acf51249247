"""The README's figures are those of the committed benchmark output."""

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
    assert benchmark.quality_table(results) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_benchmark_is_of_the_shipped_checkpoint():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    shipped = ROOT / "systems/alanine_dipeptide/checkpoint/model.json"
    weights = json.loads(shipped.read_text(encoding="utf-8"))["weights_sha256"]
    assert results["checkpoints"]["all_atom"] == weights
