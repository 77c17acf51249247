"""The maps of alanine peptides that come with molflow, and their references, are what is said."""

import json
from pathlib import Path

import numpy as np
import pytest

import molflow
from molflow.analysis.torsion_metrics import delta_f_alpha_l
from molflow.analysis.weighting import effective_size
from molflow.comparison import compare, find_reference
from molflow.data.simulation import trajectory_hashes
from molflow.md.energies import potential_energies
from molflow.training.checkpoint import load_checkpoint

ROOT = Path(__file__).parent.parent
#: Of every peptide its part of the benchmark, its residues and the map that its own began as.
PEPTIDES = {
    "alanine_tripeptide": ("tripeptide", ["ALA2", "ALA3"], "alanine_dipeptide"),
    "alanine_tetrapeptide": ("tetrapeptide", ["ALA2", "ALA3", "ALA4"], "alanine_tripeptide"),
}


@pytest.fixture(scope="module", params=PEPTIDES)
def system(request):
    return request.param


@pytest.fixture(scope="module")
def reference(system):
    return find_reference(system)


def test_the_reference_is_what_the_benchmark_says(system, reference):
    part, residues, _ = PEPTIDES[system]
    results = json.loads((ROOT / "benchmarks/results/many.json").read_text(encoding="utf-8"))
    said = results["summary"][part]["reference"]
    assert reference.held_out_runs == reference.runs and len(reference.runs) >= 4
    assert len(reference.torsions) == said["frames"]
    assert list(said["residues"]) == residues
    size = effective_size(len(reference.torsions), reference.weights)
    assert size == pytest.approx(said["effective_size"])
    for name, row in said["residues"].items():
        pair = [reference.torsion_names.index(f"{angle} {name}") for angle in ("phi", "psi")]
        found = delta_f_alpha_l(reference.torsions[:, pair], weights=reference.weights)
        assert found == pytest.approx(row["delta_f_alpha_l"]["value"], abs=1e-6), name


def test_thinned_frames_have_the_energies_that_are_stored(system, reference):
    rows = np.arange(0, len(reference.positions), 500)
    energies = potential_energies(molflow.load_system(system), reference.positions[rows], jobs=1)
    stored = reference.energies[reference.position_frame[rows]]
    assert np.abs(energies - stored).max() < 0.05


def test_the_map_was_never_shown_what_it_is_scored_on(system, reference):
    checkpoint = load_checkpoint(system)
    own = molflow.load_system(system).ensemble_hash
    assert checkpoint.description["ensemble_hash"] == reference.ensemble_hash == own
    files = trajectory_hashes(reference.provenance["simulation"], reference.runs)
    assert len(files) == len(reference.runs)
    assert not files.keys() & {*checkpoint.description["trajectories"]}
    record, began = checkpoint.description["record"], []
    while "start" in record:  # a leg after another
        began.append(record["start"]["weights_sha256"])
        record = record["start"]["record"]
    assert load_checkpoint(PEPTIDES[system][2]).weights_hash in began


def test_few_steps_give_sound_molecules(system):
    ensemble = molflow.sample(system, steps=8, n=256, path_seed=3, progress=False)
    result = compare(ensemble, system, exact_transport=False)
    counts = result["validity"]
    assert counts["samples"] == 256 and counts["valid"] >= 0.985 * 256
    assert counts["wrong_hand"] <= 1
    ratios = [row["sd_ratio"] for row in result["geometry"] if row["kind"] == "bond"]
    assert 0.9 <= np.median(ratios) <= 1.15
    assert result["metrics"]["fes_rmse"]["value"] <= 0.9
