"""A run of a map of dynamics from beginning to end: resumable, repeatable, refused in sentences."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny_training import (
    DYNAMICS_WORDS,
    add_free_paths,
    add_springs,
    name_bonds,
    write_training_set,
)

from molflow.data.dataset import load_forces, load_training_data
from molflow.errors import MolflowError
from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap
from molflow.maps.langevin.flow_map import LangevinFlowMap
from molflow.maps.overdamped.flow_map import OverdampedFlowMap
from molflow.training.checkpoint import load_checkpoint
from molflow.training.run import train
from molflow.valence.force import ValenceForce
from molflow.valence.formula import ValenceFormula

SYSTEM = "alanine_dipeptide"


@pytest.fixture(scope="module")
def springs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dynamics") / "data"
    return add_springs(write_training_set(folder, SYSTEM))


@pytest.fixture(scope="module")
def bonds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dynamics") / "data"
    return name_bonds(add_springs(write_training_set(folder, SYSTEM)))


@pytest.fixture
def empty(tmp_path):
    (tmp_path / "empty.yaml").write_text("{}")
    return tmp_path / "empty.yaml"


def run(data, out, config, *words, **options):
    words = [*DYNAMICS_WORDS, *words]
    return train(SYSTEM, data, out, config=config, overrides=words, progress=False, **options)


def weights(folder):
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


@pytest.mark.parametrize("kind", ["langevin", "overdamped"])
def test_a_run_leaves_a_map_that_can_be_used(springs, tmp_path, empty, kind):
    folder = run(springs, tmp_path / "run", empty, f"map.kind={kind}", "map.order=3",
                 "map.longest_lag=0.01", "steps=3", "validate_every=1")  # fmt: skip
    checkpoint = load_checkpoint(folder)
    flow_map = checkpoint.flow_map
    assert type(flow_map) is {"langevin": LangevinFlowMap, "overdamped": OverdampedFlowMap}[kind]
    assert (flow_map.temperature, flow_map.friction, flow_map.longest_lag) == (300.0, 1.0, 0.01)
    assert sum(flow_map.scales.masses) == pytest.approx(144.17, abs=0.01)
    # Springs of 50000 kJ/mol/nm² and a width of 0.02 nm; the mean over all atoms is near that.
    assert sum(flow_map.scales.forces) / 22 == pytest.approx(1000.0, rel=0.1)
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    named = {"loss/local", "loss/anchor", "loss/semigroup", "rollouts/broken", "val/force"}
    assert named <= set(rows[0].split(","))


@pytest.mark.parametrize("optimiser", ["adam", "soap"])
def test_a_run_in_two_parts_ends_where_one_in_one_does(springs, tmp_path, empty, optimiser):
    """Rollouts go on too: they are part of what is resumed."""
    rule = f"optimiser={optimiser}"
    whole = run(springs, tmp_path / "whole", empty, rule, "steps=9")
    run(springs, tmp_path / "parts", empty, rule, "steps=6", "learning_rate_decay=0")
    with safe_open(tmp_path / "parts/state/last.safetensors", framework="pt") as file:
        state = {name.rpartition(".")[2]: file.get_tensor(name) for name in file.keys()}
    assert state["ages"].max() > 0 and state["rollouts"].abs().max() > 0.01
    parts = run(springs, tmp_path / "parts", empty, rule, "steps=9", "learning_rate_decay=3")
    one, two = weights(whole), weights(parts)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_force_matching_learns_springs(springs, tmp_path, empty):
    """The force error of untrained weights is that of no force at all, 1."""
    words = ["steps=150", "steps_per_epoch=150", "objective.local_steps=150", "batch_size=32",
             "learning_rate=0.01", "ema_decay=0.9", "validate_every=1",
             "objective.validation_steps=1", "network.scalars=16", "network.vectors=8"]  # fmt: skip
    run(springs, tmp_path / "run", empty, *words)
    header, row = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    found = dict(zip(header.split(","), row.split(","), strict=True))
    assert float(found["val/force"]) < 0.8


def test_a_run_can_start_from_another(springs, tmp_path, empty):
    first = run(springs, tmp_path / "one", empty, "steps=2")
    second = run(springs, tmp_path / "two", empty, "steps=2", "seed=1", start=first)
    record = json.loads((second / "model.json").read_text())["record"]
    assert record["start"]["weights_sha256"] == load_checkpoint(first).weights_hash
    with pytest.raises(MolflowError, match="with map.longest_lag = 0.01, and the configuration"):
        run(springs, tmp_path / "three", empty, "map.kind=langevin", "map.longest_lag=0.02",
            "map.order=3", start=first)  # fmt: skip


def test_mean_flow_and_compile_do_not_go_together(springs, tmp_path, empty):
    with pytest.raises(MolflowError, match="set it to 0, or train without --compile"):
        run(springs, tmp_path / "run", empty, "objective.mean_flow_share=0.5", compiled=True)


def test_the_curl_is_for_layers_that_are_kept(springs, tmp_path, empty):
    words = [word for word in DYNAMICS_WORDS if "pair_width" not in word]
    words += ["network.kind=sparse", "network.recompute=true", "map.bonded=true"]
    with pytest.raises(MolflowError, match="layers that are computed again have no second deriv"):
        train(SYSTEM, springs, tmp_path / "run", config=empty, progress=False,
              overrides=[*words, "objective.curl_share=0.5"])  # fmt: skip


def test_the_curl_is_for_maps_that_know_bonded_forces(springs, tmp_path, empty):
    with pytest.raises(MolflowError, match="curl_share is 0.5, and is for maps that know bonded"):
        run(springs, tmp_path / "run", empty, "objective.curl_share=0.5")


def test_data_without_forces_are_a_sentence(tmp_path, empty):
    data = write_training_set(tmp_path / "data", SYSTEM)
    with pytest.raises(MolflowError, match="has no forces"):
        run(data, tmp_path / "run", empty)


def test_bonded_terms_that_the_set_names_are_known_unless_told_otherwise(bonds, tmp_path, empty):
    words = "steps=3", "validate_every=1"
    flow_map = load_checkpoint(run(bonds, tmp_path / "run", empty, *words)).flow_map
    assert type(flow_map) is BondedLangevinFlowMap
    assert len(flow_map.scales.bonded.bonds) == 21
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    named = {"loss/local", "loss/anchor", "loss/semigroup", "rollouts/broken", "val/force"}
    assert named <= set(rows[0].split(","))
    plain = run(bonds, tmp_path / "plain", empty, *words, "map.bonded=false")
    assert type(load_checkpoint(plain).flow_map) is LangevinFlowMap
    overdamped = run(bonds, tmp_path / "over", empty, *words, "map.kind=overdamped")
    assert load_checkpoint(overdamped).flow_map.scales.bonded is None


def test_a_formula_is_fitted_where_the_set_names_no_bonded_terms(springs, tmp_path, empty):
    words = "steps=3", "validate_every=1", "map.bonded=fitted"
    flow_map = load_checkpoint(run(springs, tmp_path / "run", empty, *words)).flow_map
    assert type(flow_map) is BondedLangevinFlowMap
    formula = flow_map.scales.bonded
    assert isinstance(formula, ValenceFormula) and len(formula.bonds) == 21
    # What the formula leaves is the rest that is learned.
    x, force = load_forces(load_training_data(springs)).train
    known = ValenceForce(formula, 22)(torch.from_numpy(x.astype(float))).numpy()
    rest = np.sqrt(((force - known) ** 2).mean(axis=(0, 2)))
    assert flow_map.scales.forces == pytest.approx(rest.tolist(), rel=1e-6)
    assert rest.mean() < 0.9 * np.sqrt((force**2).mean(axis=(0, 2))).mean()


@pytest.mark.parametrize("known", ["map.bonded=true", "map.bonded=fitted"])
def test_a_run_with_known_forces_goes_on_where_it_was(bonds, tmp_path, empty, known):
    whole = run(bonds, tmp_path / "whole", empty, known, "steps=6", "learning_rate_decay=3")
    run(bonds, tmp_path / "parts", empty, known, "steps=3", "learning_rate_decay=0")
    parts = run(bonds, tmp_path / "parts", empty, known, "steps=6", "learning_rate_decay=3")
    one, two = weights(whole), weights(parts)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_paths_test_such_a_map_and_give_its_residual_noise(tmp_path, empty):
    data = name_bonds(add_springs(write_training_set(tmp_path / "data", SYSTEM)))
    add_free_paths(data)
    words = "steps=3", "validate_every=1", "objective.validation_lags=[0.005]"
    checkpoint = load_checkpoint(run(data, tmp_path / "run", empty, *words))
    assert checkpoint.residual is not None and checkpoint.residual.block == 0.005
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert "val/path@5fs" in rows[0].split(",")
    # Of another order they are left alone, and so are those that are longer than any step.
    for k, word in enumerate(("map.order=2", "map.longest_lag=0.004")):
        lags = "objective.validation_lags=[0.002]"
        other = run(data, tmp_path / f"other{k}", empty, *words[:2], lags, word)
        assert load_checkpoint(other).residual is None


@pytest.mark.parametrize("name", ["mean_flow_share", "direct_share"])
def test_objectives_without_a_form_for_bonded_terms_are_a_sentence(tmp_path, empty, name):
    data = name_bonds(add_springs(write_training_set(tmp_path / "data", SYSTEM)))
    add_free_paths(data)
    with pytest.raises(MolflowError, match=rf"objective.{name} is 0.5, .* map.bonded to false"):
        run(data, tmp_path / "run", empty, f"objective.{name}=0.5")
