"""One map of several molecules: batches, weights, training, resuming, and a molecule never seen."""

import csv
import json

import numpy as np
import pytest
import torch
from tiny_training import WORDS, write_training_set
from typer.testing import CliRunner

import molflow
from molflow.cli import app
from molflow.errors import MolflowError
from molflow.files import read_json, sha256_of
from molflow.maps.denoiser.draw import start_variance
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.maps.denoiser.recipe_of_many import ObjectiveOfMany, RecipeOfMany, number_of_parts
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint
from molflow.training.configuration import load_configuration
from molflow.training.fit import Epoch
from molflow.training.kinds import Material, build_flow_map
from molflow.training.module import FlowMapTraining
from molflow.training.molecules import graph_of
from molflow.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore")
NAMES = ["alanine_dipeptide_amber14", "proline_dipeptide"]
UNSEEN = "alanine_tripeptide"
SIZES = [*WORDS, "network.rounds=1", "batch_size=16"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    made = [write_training_set(folder / name, name, seed) for seed, name in enumerate(NAMES)]
    return [*made, write_training_set(folder / UNSEEN, UNSEEN, 3)]


def run(data, out, words=()):
    return train(NAMES, data[:2], out, overrides=[*SIZES, *words], progress=False)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    run(data, out)
    return out


def materials_of(data, words=()):
    from molflow.data.dataset import load_training_data

    settings = load_configuration((), [*SIZES, *words], {"network": {"kind": "shared"}})
    return [
        Material(load_system(name), load_system(name).topology(), graph_of(load_system(name)),
                 load_training_data(folder), settings)
        for name, folder in zip(NAMES, data, strict=False)
    ]  # fmt: skip


def random_map(recipe, materials):
    settings = materials[0].settings
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow_map = build_flow_map(
            materials[0].graph, settings.network, settings.map, recipe.known
        ).double()
        torch.nn.init.normal_(flow_map.network.last, std=0.3)
    flow_map.network.speak_of([material.graph for material in materials], recipe.known)
    return flow_map


def double(batch):
    return {
        name: value.double() if torch.is_tensor(value) else value for name, value in batch.items()
    }


@pytest.fixture(scope="module")
def mixed(data):
    """Materials, a map of both with random weights, its objective and a batch with long steps."""
    materials = materials_of(data)
    recipe = RecipeOfMany(materials)
    flow_map = random_map(recipe, materials)
    ingredients = recipe.ingredients(flow_map)
    batch = [double(part) for part in ingredients.batches(Epoch(1, 100, 3))[1]]
    return materials, recipe, flow_map, ingredients.objective, batch


def test_the_loss_of_a_batch_and_its_gradient_are_those_of_the_molecules(mixed):
    materials, recipe, flow_map, objective, batch = mixed
    assert isinstance(objective, ObjectiveOfMany) and [part["molecule"] for part in batch] == [0, 1]
    parameters = list(flow_map.network.parameters())
    together = objective(flow_map, flow_map, batch)
    values = torch.cat([one.values for one in together])
    whole = torch.autograd.grad(values.sum(), parameters, allow_unused=True)
    alone, gradients = [], []
    for k, material in enumerate(materials):
        own = random_map(recipe, materials)
        own.network.speak_of([material.graph], recipe.known)
        own.spread = recipe.known.spread(material.graph)
        part = batch[k]
        if not part["named"]:
            own.network.molecule0_residue.fill_(24)
        residuals = objective.objectives[k](own, own, part)
        alone += [one.values for one in residuals]
        gradients.append(torch.autograd.grad(
            torch.cat([one.values for one in residuals]).sum(), list(own.network.parameters()),
            allow_unused=True,
        ))  # fmt: skip
    assert (values - torch.cat(alone)).abs().max() < 1e-10 * values.max() and values.min() > 0
    for summed, *parts in zip(whole, *gradients, strict=True):
        parts = [part for part in parts if part is not None]
        assert (summed is None) == (not parts)
        if parts:
            assert (summed - sum(parts)).abs().max() < 1e-10 * (1.0 + summed.abs().max())


class Points(torch.nn.Module):
    """Networks of maps whose data are one conformation of each molecule: D̄ is what it is.

    With `wrong`, D̄ also drifts with the end of the step, which no semigroup does.
    """

    def __init__(self, points, spreads, wrong=0.0):
        super().__init__()
        self.points, self.spreads, self.wrong = points, spreads, wrong
        self.factor = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def of(self, k, named):
        def network(positions, noise, s, t):
            sigma, v = (10.0 * torch.exp(-s)).reshape(-1, 1, 1), self.spreads[k]
            within = torch.rsqrt(v**2 + sigma**2)
            mean = self.points[k] * (1.0 + self.wrong * t.reshape(-1, 1, 1))
            skipped = v**2 * within**2 * positions * torch.sqrt(1.0 + sigma**2)
            return self.factor * (mean - skipped) / (v * sigma * within)

        return network


def test_long_steps_of_every_molecule_obey_the_semigroup(mixed):
    materials, recipe, flow_map, objective, batch = mixed
    points = [part["clean"][0] for part in batch]

    def long_steps(wrong):
        network = Points(points, objective.spreads, wrong)
        made = DenoiserFlowMap(network, flow_map.sde, 2, flow_map.clock)
        found = objective(made, made, batch)[1::2]
        assert [set(one.parts) for one in found] == [{"anchor", "semigroup"}] * 2
        return torch.stack([one.values[one.parts["anchor"] :].max() for one in found])

    assert long_steps(0.0).max() < 1e-20 and long_steps(0.1).min() > 1e-4


def test_every_molecule_weighs_the_same_whatever_its_size(mixed):
    materials, recipe, flow_map, objective, batch = mixed
    assert {material.graph.n_atoms for material in materials} == {22, 26}
    assert len({len(part["clean"]) for part in batch}) == 1
    silent = random_map(recipe, materials)
    torch.nn.init.zeros_(silent.network.last)
    s = torch.full((16,), 2.0, dtype=torch.float64)
    for k, part in enumerate(objective.objectives):
        own = silent.of_molecule(k, objective.spreads[k], True)
        predicted = torch.randn(16, materials[k].graph.n_atoms, 3, dtype=torch.float64,
                                generator=torch.Generator().manual_seed(k))  # fmt: skip
        error = own.unit(s).reshape(-1, 1, 1) * torch.ones_like(predicted)
        # One unit of every coordinate, which stretches no bond: a residual of one.
        assert torch.allclose(
            part.norm(error, predicted, s) / own.unit(s).square(), torch.ones_like(s)
        )


def test_stochasticity_may_be_an_input_of_the_network_of_many(mixed):
    materials, *_ = mixed
    varied = materials_of([m.data.folder for m in materials], ["map.etas=[0,1]"])
    recipe = RecipeOfMany(varied)
    flow_map = random_map(recipe, varied)
    torch.nn.init.normal_(flow_map.network.step.of_setting)
    ingredients = recipe.ingredients(flow_map)
    batch = [double(part) for part in ingredients.batches(Epoch(1, 100, 3))[1]]

    def losses(**changed):
        parts = [part | changed for part in batch]
        found = ingredients.objective(flow_map, flow_map, parts)
        return torch.stack([one.values.mean() for one in found[::2]])

    assert batch[0]["eta"] != batch[1]["eta"]
    assert ((losses(eta=0.9) - losses(eta=0.1)).abs() > 1e-6).all()
    one = flow_map.of_molecule(1, 0.7, True).at(0.5)
    assert one.spread == 0.7 and one.sde.eta == 0.5 and one.etas == flow_map.etas


def test_more_molecules_than_a_batch_has_room_for_take_turns(mixed):
    assert [number_of_parts(k, 64) for k in (1, 5, 8, 20)] == [1, 5, 8, 8]
    materials, recipe, flow_map, _, _ = mixed
    few = RecipeOfMany(materials_of([m.data.folder for m in materials], ["batch_size=10"]))
    batches = few.ingredients(flow_map).batches(Epoch(0, 0, 40))
    seen = [[part["molecule"] for part in batches[k]] for k in range(40)]
    assert all(len(one) == 1 for one in seen) and 8 < sum(one == [0] for one in seen) < 32
    assert [part["molecule"] for part in batches[7]] == seen[7]
    named = [part["named"] for k in range(40) for part in batches[k]]
    assert 2 < named.count(False) < 22


def test_the_unit_is_one_for_all_and_the_spread_of_each_is_found_without_data(mixed):
    materials, recipe, flow_map, objective, _ = mixed
    scales = [material.data.scale for material in materials]
    assert recipe.scale == pytest.approx(np.sqrt(np.mean(np.square(scales))))
    for spread, scale in zip(objective.spreads, scales, strict=True):
        assert spread * recipe.scale == pytest.approx(scale, rel=0.05)
    assert start_variance(flow_map) == pytest.approx(flow_map.spread**2 + 100.0)


def metrics(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_a_run_of_several_resumes_as_if_nothing_had_been(data, trained, tmp_path, monkeypatch):
    original, left = FlowMapTraining.training_step, [5]

    def stopping(self, *arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return original(self, *arguments)

    monkeypatch.setattr(FlowMapTraining, "training_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "run")
    monkeypatch.setattr(FlowMapTraining, "training_step", original)
    run(data, tmp_path / "run")
    weights = "checkpoint/model.safetensors"
    assert sha256_of(tmp_path / "run" / weights) == sha256_of(trained / weights)
    assert metrics(tmp_path / "run") == metrics(trained)
    rows = metrics(trained)
    assert float(rows[-1]["loss/local"]) > 0 and float(rows[-1]["loss/semigroup"]) > 0
    assert "val/intact@2" in rows[0]


def test_the_checkpoint_names_its_molecules_and_asks_which_is_meant(trained):
    told = read_json(trained / "checkpoint" / "model.json")
    assert [one["system"] for one in told["molecules"]] == NAMES and "graph" not in told
    assert all(one["frames"] == 40 and one["split"]["train"] == [0, 1] for one in told["molecules"])
    assert not (trained / "checkpoint" / "topology.pdb").exists()
    with pytest.raises(MolflowError, match="speaks of many molecules: name one as the system"):
        load_checkpoint(trained)
    one = load_checkpoint(trained, system=NAMES[1])
    assert one.n_atoms == 26 and one.description["molecule"]["trained"]
    assert one.description["split"]["train"] == [0, 1]
    assert "is one of the 2 molecules" in one.description["molecule"]["sentence"]
    assert one.weights_hash != load_checkpoint(trained, system=NAMES[0]).weights_hash


def test_a_molecule_never_seen_is_sampled_with_a_sentence_and_a_record(trained, tmp_path):
    out = tmp_path / "tri.dcd"
    words = ["sample", str(trained), "--system", UNSEEN, "-n", "70", "--steps", "2", "--quiet",
             "--out", str(out)]  # fmt: skip
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "alanine_tripeptide, 32 atoms, is none of the 2 molecules of the training" in said
    # Only from three bonds on is an alanine beside an alanine another thing than beside a cap.
    assert "new are the surroundings up to 3 bonds of" in said
    assert "another" not in said and "side chain" not in said
    record = read_json(out.with_suffix(".json"))
    assert record["system"] == UNSEEN and record["n"] == 70
    told = record["molecule"]
    assert told["trained"] is False and told["new_elements"] == told["new_bonds"] == 0
    assert told["new_surroundings"][:3] == [0, 0, 0] and 0 < told["new_surroundings"][3] < 32
    assert record["training_replicas"] == []
    other = load_checkpoint(trained, system="alanine_dipeptide").description["molecule"]
    assert other["new_surroundings"] == [0, 0, 0, 0] and not other["trained"]
    assert "has the atoms and bonds of alanine_dipeptide_amber14, one of the 2 molecules" in (
        other["sentence"]
    )
    assert "It has another force field than these" in other["sentence"]
    drawn = molflow.sample(load_checkpoint(trained, system=UNSEEN), 2, 70, progress=False)
    assert drawn.n_atoms == 32 and np.isfinite(drawn.xyz).all()
    again = CliRunner().invoke(app, [*words[:3], NAMES[0], *words[4:]])
    assert again.exit_code == 2 and "choose another folder" in again.stderr


def test_other_processes_and_precisions_speak_of_the_same_molecule(trained):
    from molflow.checking.subject import Subject
    from molflow.sampling.pool import _in_process

    one = load_checkpoint(trained, system=UNSEEN)
    there = _in_process(
        lambda checkpoint, wanted: checkpoint, one.folder, one.bound_to, "cpu", None
    )
    assert there.weights_hash == one.weights_hash and there.n_atoms == 32
    assert there.topology() == one.topology()
    subject = Subject(one, 2, 8, 0).in_double_precision()
    x, _ = subject.start(4, "test")
    assert x.dtype == torch.float64 and x.shape == (4, 32, 3)
    s = torch.full((4,), 3.0, dtype=torch.float64)
    inputs = (s, s, x, subject.flow_map.no_features(x))
    found = subject.flow_map.mean(*inputs)
    single = one.flow_map.mean(*(part.float() for part in inputs))
    assert (found - single).abs().max() < 1e-4 * found.abs().max()
    assert subject.force_field.ensemble_hash == load_system(UNSEEN).ensemble_hash


def test_one_molecule_starts_from_the_map_of_many(data, trained, tmp_path):
    words = [
        "steps=8", "steps_per_epoch=4", "batch_size=6", "validate_every=9",
        "learning_rate_warmup=2", "learning_rate_decay=3", "objective.local_steps=2",
    ]  # fmt: skip
    frozen = train(
        UNSEEN, data[2], tmp_path / "still", overrides=[*words, "learning_rate=1e-12"],
        start=trained, progress=False,
    )  # fmt: skip
    shared, still = load_checkpoint(trained, system=UNSEEN), load_checkpoint(frozen)
    assert still.bound_to is None and still.scale == shared.scale
    assert still.description["chemistry"] == shared.description["chemistry"]
    same = molflow.sample(still, 2, 64, progress=False).xyz
    assert np.allclose(same, molflow.sample(shared, 2, 64, progress=False).xyz, atol=1e-5)
    tuned = load_checkpoint(
        train(UNSEEN, data[2], tmp_path / "tuned", overrides=words, start=trained, progress=False)
    )
    assert not np.allclose(molflow.sample(tuned, 2, 64, progress=False).xyz, same, atol=1e-3)
    assert tuned.description["record"]["start"]["weights_sha256"] == shared.weights_hash
    assert json.loads((tmp_path / "tuned/checkpoint/model.json").read_text())["system"] == UNSEEN


def test_what_several_systems_cannot_do_is_said(data, trained, tmp_path):
    def said(*arguments, **options):
        with pytest.raises(MolflowError) as error:
            train(*arguments, tmp_path / "no", overrides=SIZES, progress=False, **options)
        return str(error.value)

    assert "2 systems and 1 folders of data" in said(NAMES, data[:1])
    assert "have another force field" in said([*NAMES, "alanine_dipeptide"], [*data[:2], data[1]])
    assert "give systems with all atoms" in said(["alanine_dipeptide:heavy", NAMES[1]], data[:2])
    assert "--compile" in said(NAMES, data[:2], compiled=True)
    with pytest.raises(MolflowError, match="network.kind = dense learns one"):
        train(NAMES, data[:2], tmp_path / "no", overrides=[*WORDS, "network.kind=dense"],
              progress=False)  # fmt: skip
    with pytest.raises(MolflowError, match="learns one: give one system"):
        train(NAMES, data[:2], tmp_path / "no", overrides=["map.kind=langevin"], progress=False)
    result = CliRunner().invoke(app, ["sample", "alanine_dipeptide", "--system", UNSEEN])
    assert result.exit_code == 2 and "speaks of one molecule" in " ".join(result.output.split())


def test_averaged_targets_are_what_the_denoiser_is_measured_by(mixed):
    materials, *_ = mixed
    folders = [m.data.folder for m in materials]
    varied = materials_of(folders, ["objective.averaged_over=4"])
    recipe = RecipeOfMany(varied)
    flow_map = random_map(recipe, varied)
    ingredients = recipe.ingredients(flow_map)
    batch = [double(part) for part in ingredients.batches(Epoch(1, 100, 1))[0]]
    local = len(batch[0]["local_time"])
    assert not torch.allclose(batch[0]["target"], batch[0]["clean"][:local], atol=1e-3)

    def loss(**changed):
        parts = [batch[0] | changed, *batch[1:]]
        return ingredients.objective(flow_map, flow_map, parts)[0].values

    own = loss(target=batch[0]["clean"][:local])
    assert (own - loss()).abs().max() > 1e-3
    assert torch.allclose(loss(importance=3.0 * torch.ones(local).double()), 3.0 * loss())
