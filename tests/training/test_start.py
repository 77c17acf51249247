"""A run that starts from the map of a smaller molecule."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_training import WORDS, write_training_set

from molflow.data.distances import distance_statistics
from molflow.errors import MolflowError
from molflow.files import read_arrays
from molflow.nn.dense_attention import DenseAttention
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint
from molflow.training.configuration import load_configuration
from molflow.training.molecules import graph_of
from molflow.training.run import train
from molflow.training.start import check_start, counterparts

pytestmark = pytest.mark.filterwarnings("ignore")
SMALL, LARGE = "alanine_dipeptide", "alanine_tripeptide"
#: Of each atom of ACE-ALA-ALA-NME the atom of ACE-ALA-NME: both alanines are its alanine.
SAME = [*range(16), *range(6, 16), *range(16, 22)]
OF_ATOMS = {"identity": 0, "pairs.sender": 0, "pairs.receiver": 0, "dihedrals.identity": 1}


def test_atoms_of_a_peptide_have_counterparts_in_a_smaller_one():
    small, large = graph_of(load_system(SMALL)), graph_of(load_system(LARGE))
    assert counterparts(large, small) == SAME
    mirrored = replace(small, hands=tuple(-hand for hand in small.hands))
    # Where no carbon has the hand, any carbon will do.
    found = counterparts(large, mirrored)
    moved = [atom for atom, place in enumerate(found) if place != SAME[atom]]
    assert moved == [atom for atom, hand in enumerate(large.hands) if hand]
    assert {small.elements[found[atom]] for atom in moved} == {6}
    assert counterparts(large, replace(mirrored, hands=())) == SAME


def test_an_atom_without_its_like_starts_from_one_that_is_bonded_alike_or_of_its_element():
    small, large = (graph_of(load_system(name)) for name in ("alanine_tetrapeptide", "chignolin"))
    found = counterparts(large, small)
    assert [small.elements[place] for place in found] == list(large.elements)
    near = [
        [sorted(graph.elements[k] for k in bonded) for bonded in graph.neighbours()]
        for graph in (small, large)
    ]
    for atom, place in enumerate(found):
        alike = [k for k, bonded in enumerate(near[0]) if bonded == near[1][atom]]
        same_hand = [k for k in alike if small.hands[k] == large.hands[atom]]
        kept = [k for k in same_hand if small.elements[k] == large.elements[atom]]
        assert place in kept or not kept
    sulfur = replace(large, elements=(16, *large.elements[1:]))
    assert counterparts(sulfur, small)[0] is None


def test_names_without_the_same_neighbours_are_no_counterparts():
    """As of two ligands, all of which are called MOL."""
    graph = graph_of(load_system("aspirin"))
    assert counterparts(graph, graph) == list(range(graph.n_atoms))
    hydrogen = next(k for k, element in enumerate(graph.elements) if element == 1)
    oxygen = next(k for k, element in enumerate(graph.elements) if element == 8)
    carbon = next(k for pair in graph.bonds if hydrogen in pair for k in pair if k != hydrogen)
    elsewhere = tuple(sorted((hydrogen, oxygen)))
    moved = tuple(elsewhere if hydrogen in pair else pair for pair in graph.bonds)
    found = counterparts(graph, replace(graph, bonds=moved))
    other = {atom for atom, place in enumerate(found) if place != atom}
    assert hydrogen in other and other <= {hydrogen, oxygen, carbon}


def test_a_run_starts_from_the_weights_of_a_smaller_molecule(tmp_path):
    words = [*WORDS, "validation_samples=8"]
    origin = load_checkpoint(
        train(SMALL, write_training_set(tmp_path / "small", SMALL), tmp_path / "first",
              overrides=words, progress=False)
    )  # fmt: skip
    data = write_training_set(tmp_path / "large", LARGE, seed=1)
    # A learning rate that moves nothing: the weights are those it started from.
    made = load_checkpoint(
        train(LARGE, data, tmp_path / "second", overrides=[*words, "learning_rate=1e-30"],
              start=tmp_path / "first", progress=False)
    )  # fmt: skip
    before, after = origin.flow_map.state_dict(), made.flow_map.state_dict()
    rows = torch.tensor(SAME)
    for name, _ in made.flow_map.named_parameters():
        axis = OF_ATOMS.get(name.removeprefix("network."))
        expected = before[name] if axis is None else before[name].index_select(axis, rows)
        assert torch.equal(after[name], expected), name
    positions = read_arrays(data / "train.npz")["positions"] / made.scale
    pairs = np.array([[4, 26], [3, 3]])
    mean, sd = distance_statistics(positions, pairs)
    for found, value in (("mean", mean), ("sd", sd)):
        measured = after[f"network.pairs.{found}"].numpy()[pairs[:, 0], pairs[:, 1]]
        assert measured == pytest.approx(value, rel=1e-4, abs=1e-6)
    assert made.description["record"]["start"]["weights_sha256"] == origin.weights_hash


def test_a_start_without_the_atoms_or_the_tables_is_told(tmp_path, monkeypatch):
    def refused(system, data):
        with pytest.raises(MolflowError) as error:
            train(system, data, tmp_path / "run", start=SMALL, progress=False)
        assert not (tmp_path / "run").exists()
        return str(error.value)

    origin, graph = load_checkpoint(SMALL), graph_of(load_system(LARGE))
    sulfur = replace(graph, elements=(*graph.elements[:-1], 16))
    with pytest.raises(MolflowError, match="it has no atoms of the elements of"):
        check_start(origin, sulfur, load_configuration((), ()))
    large = write_training_set(tmp_path / "large", LARGE)
    with pytest.raises(MolflowError, match="teacher of objective.family = .* stays what it is"):
        train(LARGE, large, tmp_path / "run", start=SMALL, progress=False,
              overrides=["objective.family=lagrangian_distillation"])  # fmt: skip
    monkeypatch.setattr(DenseAttention, "atom_tables", {})
    data = write_training_set(tmp_path / "data", LARGE)
    assert "weights of the network dense do not go from one to another" in refused(LARGE, data)
