"""`molflow kinetics` on a reference of jumps whose rates are known."""

import json
from dataclasses import replace

import numpy as np
import pytest

import molflow
from molflow.analysis.kinetics.slow_modes import load_slow_modes
from molflow.comparison import find_reference
from molflow.errors import MolflowError
from molflow.slow_motions import format_kinetics

LEAVE = 0.03  # each way, a frame of 1 ps


def plain_reference(folder, frames=3000, runs=6):
    """Torsions that jump between beta and alpha-R, as a reference of plain dynamics."""
    rng = np.random.default_rng(0)
    jumps = rng.random((runs, frames)) < LEAVE
    labels = (np.cumsum(jumps, axis=1) % 2).ravel()
    places = np.radians([[-80.0, 150.0], [-75.0, -20.0]])
    torsions = places[labels] + 0.15 * rng.normal(size=(runs * frames, 2))
    reference = replace(
        find_reference("alanine_dipeptide"),
        torsions=((torsions + np.pi) % (2 * np.pi) - np.pi).astype(np.float32),
        energies=np.zeros(runs * frames), replica=np.repeat(np.arange(runs), frames),
        positions=find_reference("alanine_dipeptide").positions[:3],
        position_frame=np.arange(3), held_out_runs=(),
        provenance={"simulation": {"plan": {"temperatures": [300.0]}}},
    )  # fmt: skip
    reference.save(folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinetics")
    reference = plain_reference(folder / "reference")
    return molflow.kinetics(reference, folder / "out", lag="5ps", states=10), folder


def test_times_are_those_of_the_jumps(made):
    result, _ = made
    slowest = next(r for r in result["timescales"] if r["lag_ps"] == 5 and r["process"] == 0)
    assert slowest["verdict"] == "resolved"
    assert slowest["value_ps"] == pytest.approx(-1 / np.log(1 - 2 * LEAVE), rel=0.1)
    there = next(r for r in result["passages"] if (r["start"], r["end"]) == ("beta", "alpha_r"))
    assert there["verdict"] == "resolved"
    assert there["value_ps"] == pytest.approx(1 / LEAVE, rel=0.15)
    assert result["chapman_kolmogorov"]["verdict"] == "pass"
    # psi goes to and fro with the jumps, phi only jitters.
    memory = -1 / np.log(1 - 2 * LEAVE)
    assert result["torsion_memory"]["psi"] == pytest.approx(memory, abs=2.5)
    assert result["torsion_memory"]["phi"] == 1.0


def test_everything_is_stored(made):
    result, folder = made
    out = folder / "out"
    assert json.loads((out / "kinetics.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(result)
    )
    assert (out / "kinetics.png").stat().st_size > 20_000
    modes = load_slow_modes(out)
    assert modes.lag_ps == 5.0 and modes.ensemble_hash == result["ensemble_hash"]


def test_it_is_told_in_sentences(made):
    text = format_kinetics(made[0])
    lines = text.splitlines()
    assert lines[0].endswith("18 ns of plain dynamics in 6 runs, lag time 5 ps.")
    assert any(line.startswith("Process 1 relaxes in") for line in lines)
    assert "alpha_l never visited" in text and "Chapman–Kolmogorov: pass" in text


def test_a_lag_that_does_not_fit_is_refused(made, tmp_path):
    reference = made[1] / "reference"
    for lag, sentence in (("0.5ps", "whole number of frames"), ("500ps", "choose a shorter lag")):
        with pytest.raises(MolflowError, match=sentence):
            molflow.kinetics(reference, tmp_path / "out", lag=lag)
    with pytest.raises(MolflowError, match="tempering"):
        molflow.kinetics("alanine_dipeptide", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def with_topology(folder, topology, torsions, names):
    """A reference of plain dynamics of another molecule."""
    frames = len(torsions)
    made = replace(
        find_reference("alanine_dipeptide"), topology=topology, torsions=torsions,
        torsion_names=names, energies=None, replica=np.arange(frames) * 6 // frames,
        positions=np.zeros((3, topology.n_atoms, 3), np.float32), position_frame=np.arange(3),
        held_out_runs=(), provenance={"simulation": {"plan": {"temperatures": [300.0]}}},
    )  # fmt: skip
    made.save(folder)
    return folder


def test_passages_are_told_residue_by_residue(tmp_path):
    """Two residues, of which one jumps and one does not."""
    one = find_reference("alanine_dipeptide").topology
    plain_reference(tmp_path / "one")
    jumping = find_reference(tmp_path / "one").torsions
    still = np.radians([-80.0, 150.0]) + 0.1 * np.random.default_rng(1).normal(size=jumping.shape)
    # The list of torsions of two residues: both phi, then both psi.
    torsions = np.stack([jumping[:, 0], still[:, 0], jumping[:, 1], still[:, 1]], axis=1)
    names = ("phi ALA2", "phi ALA5", "psi ALA2", "psi ALA5")
    folder = with_topology(
        tmp_path / "two", one.join(one), torsions.astype(np.float32), names
    )
    result = molflow.kinetics(folder, tmp_path / "out", lag="5ps", states=10)
    rows = result["passages"]
    assert len(rows) == 12 and (tmp_path / "out" / "kinetics.png").is_file()
    resolved = [(row["start"], row["end"]) for row in rows if row["verdict"] == "resolved"]
    assert resolved == [("beta", "alpha_r"), ("alpha_r", "beta")]
    text = format_kinetics(result)
    assert f"{rows[0]['residue']}: The mean passage from beta to alpha_r takes" in text
    assert "10 passages between basins are inconclusive." in text


def test_a_molecule_without_torsions_has_no_slow_modes(tmp_path):
    topology = find_reference("alanine_dipeptide").topology.subset([0, 1, 2])
    folder = with_topology(tmp_path / "r", topology, np.zeros((600, 0), np.float32), ())
    with pytest.raises(MolflowError, match="has no torsion"):
        molflow.kinetics(folder, tmp_path / "out", lag="5ps")
    assert not (tmp_path / "out").exists()
