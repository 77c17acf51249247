"""The checkpoint that comes with molflow does what the README says."""

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

import molflow
from molflow.analysis.statistics import block_length, resample, torsion_inefficiency
from molflow.analysis.torsion_metrics import delta_f_alpha_l, fes_rmse
from molflow.analysis.torsions import phi_psi
from molflow.analysis.weighting import effective_size
from molflow.brownian.increment import Increment
from molflow.comparison import compare, find_reference
from molflow.data.simulation import trajectory_hashes
from molflow.flow_map.centring import centre
from molflow.testing import assert_equivariant
from molflow.training.checkpoint import load_checkpoint

ROOT = Path(__file__).parent.parent
SYSTEM = "alanine_dipeptide"


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint(SYSTEM)


def test_it_was_never_shown_what_it_is_scored_on(checkpoint):
    """Neither in the last leg nor in those before, some of which saw other runs of tempering."""
    own = molflow.load_system(SYSTEM).ensemble_hash
    trained = {*checkpoint.description["trajectories"]}
    for name, seen in ((SYSTEM, [0, 1, 2, 3]), (f"{SYSTEM}/reference-flattened", [])):
        reference = find_reference(name)
        assert checkpoint.description["ensemble_hash"] == reference.ensemble_hash == own
        files = trajectory_hashes(reference.provenance["simulation"], reference.runs)
        assert len(files) == len(reference.runs) and reference.held_out_runs
        assert sorted(files[value] for value in trained & files.keys()) == seen
        assert not {*reference.held_out_runs} & {*seen}


def test_two_methods_agree_on_the_free_energy_of_alpha_l():
    """Parallel tempering and metadynamics: within 0.2 kT, and each within the other's interval."""
    reference = find_reference(SYSTEM)
    tempering = delta_f_alpha_l(reference.torsions)
    block = block_length(torsion_inefficiency(reference.torsions, reference.replica), 10000)
    rng = np.random.default_rng(0)
    draws = [
        delta_f_alpha_l(reference.torsions[resample(reference.replica, block, rng)])
        for _ in range(100)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    other = reference.delta_f_alpha_l
    by_run = np.array(other["by_run"])
    error = by_run.std(ddof=1) / len(by_run) ** 0.5
    assert other["value"] == pytest.approx(by_run.mean(), abs=1e-9)
    assert abs(tempering - other["value"]) < 0.2
    assert low < other["value"] < high and abs(tempering - other["value"]) < 1.96 * error
    text = (ROOT / "systems/alanine_dipeptide/README.md").read_text(encoding="utf-8")
    for value in (tempering, other["value"], *by_run):
        assert f"{value:.2f}" in text


@pytest.mark.parametrize(("start", "length"), [(0.5, 2.0), (2.2, 2.1), (5.0, 0.3), (6.4, 2.1)])
def test_equivariance_in_single_precision(checkpoint, start, length):
    """Every coefficient turned; a mirrored input must not give the mirrored output."""
    flow_map = checkpoint.flow_map
    generator = torch.Generator().manual_seed(0)
    molecules = torch.from_numpy(find_reference(SYSTEM).positions[::400].copy()) / checkpoint.scale
    b = len(molecules)
    s, t = torch.full((b,), start), torch.full((b,), start + length)
    noise = centre(torch.randn(molecules.shape, generator=generator))
    x = centre(molecules) + flow_map.sde.sigma(s).reshape(-1, 1, 1) * noise
    shape = (flow_map.basis.size, *molecules.shape)
    z = centre(torch.randn(shape, generator=generator)).movedim(0, -1)
    increment = Increment.from_whitened(flow_map.basis, t - s, z)

    def step(x, increment):
        with torch.no_grad():
            return flow_map(s, t, x, increment)

    assert_equivariant(step, x, increment, generator, tolerance=1e-4)


@pytest.mark.parametrize("nfe", [4, 8])
def test_few_steps_give_sound_molecules_in_every_basin(nfe):
    ensemble = molflow.sample(SYSTEM, steps=nfe, n=2048, path_seed=3, progress=False)
    result = compare(ensemble, SYSTEM)
    counts = result["validity"]
    assert counts["samples"] == 2048 and counts["wrong_hand"] == 0
    assert counts["valid"] >= 0.99 * 2048
    basins = result["observables"]["basins"]
    for name, share in basins["reference"].items():
        assert basins["model"][name] > 0.3 * share, name
    ratios = [row["sd_ratio"] for row in result["geometry"] if row["kind"] == "bond"]
    assert 0.8 <= np.median(ratios) <= 1.2
    assert result["metrics"]["fes_rmse"]["value"] <= 0.5
    assert abs(result["metrics"]["delta_f_alpha_l_error"]["value"]) <= 0.7


def test_more_steps_on_the_same_path_come_closer_to_the_finest():
    steps = [1, 2, 4, 8, 16, 64]
    drawn = {
        k: molflow.sample(SYSTEM, steps=k, n=128, path_seed=11, progress=False) for k in steps
    }
    heavy = drawn[64].topology.select("element != H")

    def mean_rmsd(other):
        pairs = range(len(other))
        return np.mean([mdtraj.rmsd(other[k], drawn[64][k], atom_indices=heavy) for k in pairs])

    distances = [mean_rmsd(drawn[k]) for k in steps[:-1]]
    assert all(a > b for a, b in zip(distances, distances[1:], strict=False)), distances
    # A map right in law only would stay at the distance of unrelated conformations.
    assert distances[-1] < 0.5 * mean_rmsd(drawn[64][::-1])


def test_five_beads_have_the_torsions_of_their_training_runs():
    """The published protocol, which scores on frames that were trained on."""
    checkpoint = load_checkpoint(f"{SYSTEM}:beads5")
    reference = find_reference(SYSTEM)
    trained = np.isin(reference.replica, checkpoint.description["split"]["train"])
    frames = reference.torsions[trained]
    assert len(frames) == checkpoint.description["record"]["frames"] == 50_000
    ensemble = molflow.sample(checkpoint, steps=4, n=8192, path_seed=1, progress=False)
    assert ensemble.n_atoms == 5
    torsions = phi_psi(ensemble)
    assert fes_rmse(torsions, frames) < 0.25
    assert abs(delta_f_alpha_l(torsions) - delta_f_alpha_l(frames)) < 0.6


def test_flattened_reference_is_what_the_benchmark_says():
    """Of the same ensemble, no run trained on, found by name, and its figures those committed."""
    new, old = find_reference("alanine_dipeptide/reference-flattened"), find_reference(SYSTEM)
    assert new.ensemble_hash == old.ensemble_hash and new.held_out_runs == new.runs
    assert new.log_weights is not None and len(new.runs) >= 4
    results = json.loads((ROOT / "benchmarks/results/yardstick.json").read_text(encoding="utf-8"))
    summary = results["summary"]["reference"]
    found = delta_f_alpha_l(new.torsions, weights=new.weights)
    assert found == pytest.approx(summary["delta_f_alpha_l"], abs=1e-6)
    assert found == pytest.approx(new.delta_f_alpha_l["value"], abs=1e-4)
    assert effective_size(len(new.torsions), new.weights) == pytest.approx(
        summary["effective_size"]
    )
    text = (ROOT / "systems/alanine_dipeptide/README.md").read_text(encoding="utf-8")
    assert f"{found:.2f} ± {summary['delta_f_error']:.2f}" in text


def test_thinned_frames_have_the_energies_that_are_stored():
    from molflow.md.energies import potential_energies

    reference = find_reference("alanine_dipeptide/reference-flattened")
    rows = np.arange(0, len(reference.positions), 500)
    energies = potential_energies(molflow.load_system(SYSTEM), reference.positions[rows], jobs=1)
    stored = reference.energies[reference.position_frame[rows]]
    assert np.abs(energies - stored).max() < 0.05
