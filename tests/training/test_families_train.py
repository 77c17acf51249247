"""Every named objective can be chosen in a training, for the kinds of maps that it serves."""

import pytest
from tiny_training import (
    DYNAMICS_WORDS,
    SYSTEM,
    WORDS,
    add_springs,
    name_bonds,
    write_training_set,
)

from molflow.errors import MolflowError
from molflow.objectives.families import FACTOR, LAST, START
from molflow.objectives.registry import OBJECTIVES
from molflow.training.checkpoint import load_checkpoint
from molflow.training.configuration import load_configuration
from molflow.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore")
FEW = ["steps=2", "steps_per_epoch=2", "objective.local_steps=0", "validate_every=9"]
LONG = ["objective.rollout_share=0", "objective.anchor=[0.0005,0.002]"]


@pytest.fixture(scope="module")
def origin(training_set, tmp_path_factory):
    out = tmp_path_factory.mktemp("origin") / "run"
    return train(SYSTEM, training_set, out, overrides=[*WORDS, *FEW], progress=False)


@pytest.fixture(scope="module")
def springs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families") / "data"
    return name_bonds(add_springs(write_training_set(folder, "alanine_dipeptide")))


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_every_family_trains_a_map_that_samples(name, origin, training_set, tmp_path):
    words = [*WORDS, *FEW, f"objective.family={name}"]
    needs_start = START in OBJECTIVES[name].needs
    if needs_start:
        with pytest.raises(MolflowError, match="name its checkpoint as start"):
            train(SYSTEM, training_set, tmp_path / "no", overrides=words, progress=False)
    start = origin if needs_start else None
    folder = train(
        SYSTEM, training_set, tmp_path / "run", overrides=words, start=start, progress=False
    )
    assert load_checkpoint(folder).description["configuration"]["objective"]["family"] == name
    last = load_checkpoint(folder).flow_map.network.last
    assert bool(last.isfinite().all()) and float(last.abs().max()) > 0.0


@pytest.mark.parametrize(
    ("kind", "name"),
    [("langevin", "psd"), ("langevin", "esd"), ("overdamped", "lsd"), ("overdamped", "mean_flow")],
)
def test_families_train_maps_of_dynamics(kind, name, springs, tmp_path):
    (tmp_path / "empty.yaml").write_text("{}")
    words = [*DYNAMICS_WORDS, *FEW, *LONG, f"map.kind={kind}", "map.order=3",
             "map.longest_lag=0.01", f"objective.family={name}"]  # fmt: skip
    words += ["map.bonded=false"] * (kind == "langevin")
    config = tmp_path / "empty.yaml"
    folder = train(
        "alanine_dipeptide", springs, tmp_path / "run", config, words, progress=False
    )
    assert float(load_checkpoint(folder).flow_map.network.last.abs().max()) > 0.0
    header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert "loss/long" in header and "loss/anchor" in header


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["objective.family=sdl"], "objective.family must be one of semigroup, "),
        (["map.kind=langevin", *LONG, "objective.family=lsd"], f"family = lsd needs {FACTOR}"),
        (
            ["map.kind=overdamped", *LONG, "objective.family=consistency_model"],
            f"needs {LAST}, which the equation of map.kind = overdamped",
        ),
        (["map.kind=langevin", "objective.family=psd"], "rollout_share is for objective.family"),
    ],
)
def test_what_a_family_needs_is_told(words, sentence):
    with pytest.raises(MolflowError, match=sentence):
        load_configuration((), words)


def test_maps_that_know_bonded_forces_learn_by_the_semigroup_alone(springs, tmp_path):
    (tmp_path / "empty.yaml").write_text("{}")
    words = [*DYNAMICS_WORDS, *FEW, *LONG, "objective.family=psd"]
    with pytest.raises(MolflowError, match="learns by the semigroup alone: leave it out"):
        train(
            "alanine_dipeptide", springs, tmp_path / "run", tmp_path / "empty.yaml", words,
            progress=False,
        )  # fmt: skip
