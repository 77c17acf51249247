"""Chignolin's shipped map and reference: what they are, and that molecules are mostly sound."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import molflow
from molflow.comparison import compare, find_reference
from molflow.md.energies import potential_energies
from molflow.training.checkpoint import load_checkpoint

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results/many.json"


@pytest.fixture(scope="module")
def reference():
    return find_reference("chignolin")


def test_half_of_the_ladders_trained_and_half_are_held_out(reference):
    split = load_checkpoint("chignolin").description["split"]
    assert sorted(split["train"] + split["validation"]) == list(range(16))
    assert reference.held_out_runs == tuple(range(16, 32)) and len(reference.runs) == 32


def test_thinned_frames_have_the_energies_that_are_stored(reference):
    rows = np.arange(0, len(reference.positions), 400)
    system = molflow.load_system("chignolin")
    energies = potential_energies(system, reference.positions[rows], jobs=1)
    stored = reference.energies[reference.position_frame[rows]]
    assert np.abs(energies - stored).max() < 0.05


def test_the_folded_start_is_a_hairpin():
    import mdtraj

    x = mdtraj.load(str(molflow.load_system("chignolin").folder / "folded.pdb"))
    near = {(str(a.residue), a.name): a.index for a in x.topology.atoms}
    bonds = [("ASP3", "N", "THR8", "O"), ("GLY7", "N", "ASP3", "O"), ("GLY10", "N", "GLY1", "O")]
    pairs = [[near[a, b], near[c, d]] for a, b, c, d in bonds]
    assert (mdtraj.compute_distances(x, pairs) < 0.36).all()


def test_most_molecules_of_few_steps_are_sound():
    ensemble = molflow.sample("chignolin", steps=8, n=64, path_seed=3, progress=False)
    counts = compare(ensemble, "chignolin", exact_transport=False)["validity"]
    assert counts["samples"] == 64 and counts["valid"] >= 0.85 * 64
    assert counts["wrong_hand"] <= 4


def test_tables_are_of_the_results_and_of_the_shipped_map(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("chignolin")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    table = benchmark.chignolin_table(results)
    for path in ("benchmarks/README.md", "systems/chignolin/README.md"):
        assert table in (ROOT / path).read_text(encoding="utf-8"), path
    assert results["weights_sha256"]["chignolin"] == load_checkpoint("chignolin").weights_hash
    assert set(results["summary"]["chignolin"]["map"]) == {str(k) for k in benchmark.CALLS}
    sys.modules.pop("chignolin")
