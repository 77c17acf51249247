"""`sample_weighted`: weights of a whole molecule, files, resuming, refusals."""

import json
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
import torch
from toy_maps import random_map
from typer.testing import CliRunner

import molflow.exact.weighted as weighted_module
from molflow.cli import app
from molflow.comparison import find_reference
from molflow.errors import MolflowError
from molflow.exact.annealing import Schedule
from molflow.exact.physics import BoltzmannLaw, hands_of
from molflow.exact.strata import basin_numbers
from molflow.exact.trust import format_weights, judge_weights
from molflow.exact.weighted import check_price, sample_weighted
from molflow.exact.weighted_piece import PIECE, Wanted, WeightedPieces
from molflow.files import read_arrays
from molflow.maps.denoiser.draw import start_positions
from molflow.maps.denoiser.probability_flow import ProbabilityFlow, flow_times
from molflow.md.energies import energies_and_forces, potential_energies
from molflow.nn.graph import MolecularGraph
from molflow.seeds import derive_seed
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint

SYSTEM = load_system("alanine_dipeptide")
CHECKPOINT = load_checkpoint("alanine_dipeptide")
GRAPH = MolecularGraph.from_topology(SYSTEM.topology())
#: The same molecule with a small network of random weights: no physics, but quick.
TOY = replace(CHECKPOINT, flow_map=random_map(GRAPH).requires_grad_(False))
QUICK = {"steps": 1, "schedule": Schedule(2, 4, 2, 0.4), "jobs": 1, "progress": False}


def wrong_handed(positions):
    return positions * np.array([1.0, 1.0, -1.0])


class TestLaw:
    law = BoltzmannLaw(SYSTEM, 0.2)

    def test_energy_and_gradient_are_the_force_fields(self):
        positions = SYSTEM.start_positions().astype(np.float64)
        positions = positions - positions.mean(0)
        energy, forces = energies_and_forces(SYSTEM, positions[None])
        q = self.law.basis.T @ positions.ravel() / 0.2
        value, gradient = self.law(q)
        assert value == pytest.approx(energy[0] / self.law.kt)
        assert np.allclose(self.law.to_positions(q), positions)
        # Forces add up to zero, so that nothing is lost in the centred subspace.
        assert np.allclose(self.law.basis @ gradient, -forces[0].ravel() * 0.2 / self.law.kt)

    def test_the_mirror_image_and_a_methyl_group_numbered_the_other_way_are_outside(self):
        positions = SYSTEM.start_positions().astype(np.float64)
        centres, hands = hands_of(SYSTEM)
        assert len(centres) == 4 and set(np.abs(hands)) == {1.0}  # three methyl groups and Cα
        assert self.law.right_handed(positions)
        assert not self.law.right_handed(wrong_handed(positions))
        swapped = positions.copy()
        methyl = [atom.index for atom in SYSTEM.topology().atoms if atom.name in ("HB1", "HB2")]
        swapped[methyl] = positions[methyl[::-1]]
        assert not self.law.right_handed(swapped)
        image = wrong_handed(positions)
        q = self.law.basis.T @ (image - image.mean(0)).ravel() / 0.2
        assert self.law(q)[0] == np.inf
        same = potential_energies(SYSTEM, np.stack([positions, swapped, image]))
        assert np.ptp(same) < 1e-6


def test_without_physics_the_weight_is_the_ratio_of_densities():
    """One jump; the density by the whole Jacobian of reverse mode."""
    wanted = Wanted(SYSTEM, 1, None, 3, Schedule())
    pieces = WeightedPieces(TOY, wanted)
    law = pieces.law
    law.centres, law.hands = law.centres[:1], law.hands[:1]  # of random molecules half are right
    piece = pieces.piece(np.arange(5 * PIECE, 6 * PIECE))
    flow_map = TOY.flow_map
    flow = ProbabilityFlow(flow_map, flow_times(flow_map, 1))
    starts = start_positions(flow_map, 64, 22, derive_seed(3, "block", 1))
    basis = torch.from_numpy(BoltzmannLaw(SYSTEM, 1.0).basis).float()
    x = starts[PIECE + 2]

    def reduced(q):
        return flow((basis @ q).reshape(1, 22, 3)).flatten() @ basis

    jacobian = torch.autograd.functional.jacobian(reduced, x.flatten() @ basis).double()
    variance = 1 + flow_map.sde.sigma_max**2
    log_q = -0.5 * (x.square().sum().item() / variance + 63 * np.log(2 * np.pi * variance))
    log_q -= torch.linalg.slogdet(jacobian)[1].item()
    assert piece["log_density"][2] == pytest.approx(log_q, abs=0.05)
    end = CHECKPOINT.scale * flow(x.unsqueeze(0)).numpy()
    assert np.allclose(piece["positions"][2], end[0], atol=1e-6)
    energies = potential_energies(SYSTEM, piece["positions"]) / BoltzmannLaw(SYSTEM, 1.0).kt
    right = np.isfinite(piece["log_weights"])
    ratio = (-energies - piece["log_density"])[right]
    assert np.allclose(piece["log_weights"][right], ratio, rtol=1e-3)
    assert right.tolist() == [law.right_handed(x) for x in piece["positions"].astype(float)]
    assert 0 < right.sum() < PIECE


def test_files_and_record(tmp_path):
    out = tmp_path / "weighted.dcd"
    trajectory, found = sample_weighted(CHECKPOINT, 16, out, **QUICK)
    arrays = read_arrays(out.with_suffix(".npz"))
    assert arrays["log_weights"].shape == (16,) and arrays["log_weights"].dtype == np.float64
    assert np.array_equal(arrays["log_weights"], found["log_weights"])
    finite = np.isfinite(arrays["energies"])
    again = potential_energies(SYSTEM, trajectory.xyz[finite])
    assert finite.sum() >= 13 and np.allclose(arrays["energies"][finite], again, atol=0.05)
    record = json.loads(out.with_suffix(".json").read_text())
    weighted = record["weighted"]
    assert record["nfe"] == 1 and weighted["tangents"] == 60 and weighted["stop"] == 0.12
    assert weighted["force_calls"] > 63 and weighted["spread"]["effective"] <= 16
    assert weighted["spread"]["folds"] <= 4  # a single jump does fold now and then
    assert 0.0 < weighted["effective_per_core_second"]
    assert "effective of 16 samples" in format_weights(weighted)
    # The last step takes the molecule to the temperature of the force field.
    assert np.median(arrays["energies"][finite]) / 2.494 < 5.0
    first, same = sample_weighted(CHECKPOINT, 16, out, **QUICK)
    assert np.allclose(first.xyz, trajectory.xyz, atol=1e-6) and same["record"] == weighted
    assert not list(tmp_path.glob(".*"))


def test_resumes_in_pieces_and_gives_the_same(tmp_path, monkeypatch):
    done, broken = [], [True]

    def quick(self, numbers):
        index = numbers[0] // PIECE
        done.append(index)
        if len(done) == 2 and broken.pop():
            raise KeyboardInterrupt
        rng = np.random.default_rng(index)
        values = {name: rng.normal(size=PIECE) for name in ("energies", "log_weights", "sign")}
        values |= dict.fromkeys(("log_density", "force_calls", "acceptance"), np.ones(PIECE))
        positions = SYSTEM.start_positions() + 0.01 * rng.normal(size=(PIECE, 22, 3))
        return {**values, "positions": positions.astype(np.float32), "seconds": np.ones(2)}

    monkeypatch.setattr(WeightedPieces, "piece", quick)
    out = tmp_path / "weighted.dcd"
    with pytest.raises(KeyboardInterrupt):
        sample_weighted(CHECKPOINT, 20, out, **QUICK)
    assert not out.exists()
    trajectory, found = sample_weighted(CHECKPOINT, 20, out, **QUICK)
    assert done == [0, 1, 1]
    whole, other = sample_weighted(CHECKPOINT, 20, **QUICK)
    assert np.array_equal(whole.xyz, trajectory.xyz) and len(whole) == 20
    assert np.array_equal(found["log_weights"], other["log_weights"])
    assert found["record"]["cpu_seconds_per_sample"] == pytest.approx(2 / PIECE)


def test_a_piece_depends_on_nothing_but_its_number():
    wanted = Wanted(SYSTEM, 1, None, 0, Schedule())
    one, other = WeightedPieces(TOY, wanted), WeightedPieces(TOY, wanted)
    block = start_positions(TOY.flow_map, 64, 22, derive_seed(0, "block", 0))
    numbers = np.arange(48, 64)
    assert torch.equal(one.starts(numbers), block[48:])
    far = np.array([200, 3, 48, *range(13)])
    assert torch.equal(one.starts(far)[2], block[48]) and torch.equal(one.starts(far)[1], block[3])
    one.piece(far)
    for name, values in one.piece(numbers).items():
        if name != "seconds":
            assert np.array_equal(values, other.piece(numbers)[name], equal_nan=True)


def doubts_of(log_weights, sign=None):
    n = len(log_weights)
    trajectory = mdtraj.Trajectory(
        np.repeat(SYSTEM.start_positions()[None], n, axis=0), SYSTEM.topology()
    )
    return judge_weights(log_weights, np.ones(n) if sign is None else sign, trajectory)


def test_doubts_are_said():
    rng = np.random.default_rng(0)
    even = doubts_of(0.3 * rng.normal(size=400))
    assert len(even["doubts"]) == 2  # the two basins that hold nothing
    assert all("share is not known" in doubt for doubt in even["doubts"])
    heavy = doubts_of(3.0 * rng.normal(size=400))["doubts"]
    assert any("heavy tail" in doubt for doubt in heavy)
    assert any("one conformation has" in doubt for doubt in heavy)
    sign = np.ones(400)
    sign[3] = -1
    assert any("1 of 400 Jacobians" in doubt for doubt in doubts_of(np.zeros(400), sign)["doubts"])
    with pytest.raises(MolflowError, match="none of the 5 samples has a weight"):
        doubts_of(np.full(5, -np.inf))


def test_a_bias_of_the_map_is_said_though_the_weights_are_good():
    """Draws of which αL has twice its share, each basin with equal weights: not a doubt."""
    frames = find_reference("alanine_dipeptide/reference-flattened")
    basins = basin_numbers(frames.positions, frames.topology)
    rows = np.concatenate([np.flatnonzero(basins == b)[:300] for b in range(3)])
    draws, law = np.array([6000.0, 3500.0, 500.0]), np.array([0.615, 0.36, 0.025])
    factors = np.log(draws / 300)[basins[rows]]
    log_weights = np.log(law / 300)[basins[rows]]
    trajectory = mdtraj.Trajectory(frames.positions[rows], frames.topology)
    spread = judge_weights(log_weights, np.ones(900), trajectory, factors)
    row = spread["own_shares"]["alpha_l"]
    assert row["own"] == pytest.approx(0.05) and row["weighted"] == pytest.approx(0.025)
    assert row["bias"] == pytest.approx(np.log(0.025 / 0.975 / (0.05 / 0.95)))
    assert len(spread["corrected"]) == 1 and "draws αL 2.00 times" in spread["corrected"][0]
    assert not spread["doubts"]
    numbers = {"effective_per_core_second": 1.0, "spread": spread}
    assert f"Corrected by the weights: {spread['corrected'][0]}" in format_weights(numbers)
    plain = judge_weights(log_weights, np.ones(900), trajectory)["own_shares"]  # of 900 draws
    assert plain["alpha_l"]["own"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "n is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"stop": 11.0}, "stop is 11"),
        ({"checkpoint": "alanine_dipeptide:beads5"}, "no Boltzmann law"),
        ({"checkpoint": "alanine_dipeptide:dynamics"}, "map of Langevin dynamics"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(MolflowError, match=words):
        sample_weighted(**{"checkpoint": CHECKPOINT, "n": 4, "progress": False, **options})


def test_a_system_with_constraints_is_refused(monkeypatch):
    held = SYSTEM.model_copy(update={"constraints": "HBonds"})
    monkeypatch.setattr(weighted_module, "target_of", lambda *_: held)
    with pytest.raises(MolflowError, match="12 constraints and 0 virtual sites, and weights"):
        sample_weighted(CHECKPOINT, 4, progress=False)


def test_a_molecule_that_is_too_dear_is_refused_with_the_price(monkeypatch):
    check_price(CHECKPOINT, 8)
    monkeypatch.setattr(weighted_module, "DEAREST", 1e-3)
    with pytest.raises(MolflowError, match="480 derivatives of the network, about .* seconds"):
        check_price(CHECKPOINT, 8)


def test_a_busy_machine_does_not_make_a_molecule_dear(monkeypatch):
    """Waiting counts for nothing: only the processor's seconds do."""
    passed = iter(range(0, 10_000_000, 1000))
    monkeypatch.setattr(weighted_module.time, "perf_counter", lambda: next(passed))
    check_price(CHECKPOINT, 8)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--stop", "0.1"], "--weights is missing"),
        (["--reward", "r.py:f", "--jobs", "2"], "--jobs and --reward are different things"),
        (["--temperature", "350K"], "--temperature is 350K, but --weights is missing"),
        (["--target", "aspirin"], "--weights is missing"),
        (["--weights", "--temperature", "350bar"], "temperature is '350bar'"),
        (["--weights", "--temperature", "0K"], "give 0 to 10,000 K"),
        (["--weights", "--target", "aspirin"], "has 21 atoms and the checkpoint 22"),
        (["--weights", "--flow"], "--flow and --weights are different things"),
        (["--weights", "--refine", "5"], "--refine and --weights are different things"),
    ],
)
def test_options_that_do_not_go_together(words, sentence, tmp_path):
    out = tmp_path / "ensemble.dcd"
    command = ["sample", "alanine_dipeptide", "-n", "2", "--out", str(out), *words]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2 and sentence in result.stderr and not out.exists()


def test_another_temperature_weighs_the_same_flow_by_another_law(tmp_path):
    """Without physics ln w(T') − ln w(T) = U/kT − U/kT' for every sample, to a rounding."""
    out = tmp_path / "warm.dcd"
    options = {**QUICK, "steps": 2, "stop": 0.0}
    _, own = sample_weighted(CHECKPOINT, 16, **options)
    _, warm = sample_weighted(CHECKPOINT, 16, out, temperature="350 K", **options)
    energies = read_arrays(out.with_suffix(".npz"))["energies"]
    right = np.isfinite(own["log_weights"])
    kt, warm_kt = (8.31446261815324e-3 * kelvin for kelvin in (300.0, 350.0))
    assert right.sum() > 10
    moved = (warm["log_weights"] - own["log_weights"])[right]
    assert np.allclose(moved, energies[right] * (1 / kt - 1 / warm_kt), rtol=1e-9)
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["weighted"]["temperature_K"] == 350.0
    assert record["ensemble_hash"] == SYSTEM.at(350.0).ensemble_hash != SYSTEM.ensemble_hash
    assert record["plan"]["target_hash"] == record["ensemble_hash"]


def test_another_force_field(tmp_path):
    """Vacuum in place of the implicit solvent: weights differ by the solvent's energy."""
    place = tmp_path / "vacuum"
    place.mkdir()
    text = (SYSTEM.folder / "system.yaml").read_text()
    (place / "system.yaml").write_text(text.replace(", amber99_obc.xml", ""))
    (place / "structure.pdb").write_bytes(SYSTEM.structure_path.read_bytes())
    out = tmp_path / "vacuum.dcd"
    options = {**QUICK, "steps": 2, "stop": 0.0}
    trajectory, own = sample_weighted(CHECKPOINT, 16, **options)
    _, dry = sample_weighted(CHECKPOINT, 16, out, target=place, **options)
    right = np.isfinite(own["log_weights"])
    x = trajectory.xyz[right].astype(np.float64)
    energies = [potential_energies(system, x) for system in (SYSTEM, load_system(place))]
    moved = (dry["log_weights"] - own["log_weights"])[right]
    wanted = (energies[0] - energies[1]) / (8.31446261815324e-3 * 300.0)
    assert np.allclose(moved, wanted, atol=2e-2) and np.ptp(wanted) > 1.0
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["system_path"] == str(place)


def test_a_system_at_another_temperature():
    warm = SYSTEM.at("350K")
    assert warm.temperature == 350.0 and SYSTEM.temperature == 300.0
    assert warm.ensemble == {**SYSTEM.ensemble, "temperature": 350.0}
    assert SYSTEM.at(300.0).ensemble_hash == SYSTEM.ensemble_hash
    assert warm.structure_path == SYSTEM.structure_path
