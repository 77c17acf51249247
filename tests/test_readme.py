"""The README's figures are those of the committed benchmark output."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_table_of_results_is_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("few_steps", ROOT / "benchmarks/few_steps.py")
    few_steps = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(few_steps)
    results = json.loads((ROOT / "benchmarks/results/few_steps.json").read_text(encoding="utf-8"))
    assert few_steps.table(results) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_benchmark_is_of_the_shipped_checkpoint():
    results = json.loads((ROOT / "benchmarks/results/few_steps.json").read_text(encoding="utf-8"))
    shipped = ROOT / "systems/alanine_dipeptide/checkpoint/model.json"
    weights = json.loads(shipped.read_text(encoding="utf-8"))["weights_sha256"]
    assert results["checkpoint"]["weights_sha256"] == weights
