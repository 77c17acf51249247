import json
import shutil
from pathlib import Path

import pytest
import torch
from make_frozen_checkpoint import CONFIG, LABEL, main, probe

from molflow.errors import MolflowError
from molflow.nn.graph import MolecularGraph
from molflow.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint

FROZEN = Path(__file__).parent.parent / "data" / "checkpoint-v1"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(FROZEN, tmp_path / "checkpoint"))


def edit(folder, **changes):
    path = folder / "model.json"
    text = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in text.items() if value is not None}))


def test_frozen_checkpoint_still_gives_its_output():
    checkpoint = load_checkpoint(FROZEN)
    expected = torch.tensor(json.loads((FROZEN / "output.json").read_text()))
    s, t, x, z = probe()
    output = checkpoint.flow_map.mean(s, t, x, z)
    assert (output - expected).abs().max() < 1e-5
    # The recorded output is the network's, not the preconditioner's.
    scale = 1.0 / (1.0 + checkpoint.flow_map.sde.sigma(s) ** 2).reshape(-1, 1, 1)
    assert (output - scale * x).abs().max() > 0.05


def test_frozen_checkpoint_says_what_it_is():
    checkpoint = load_checkpoint(str(FROZEN))
    assert checkpoint.description["format_version"] == 1
    assert checkpoint.description["system"] == LABEL
    assert (checkpoint.scale, checkpoint.n_atoms) == (0.125, 6)
    assert checkpoint.folder == FROZEN and len(checkpoint.weights_hash) == 64
    assert checkpoint.topology().n_atoms == 6
    assert not checkpoint.flow_map.training
    assert not any(p.requires_grad for p in checkpoint.flow_map.parameters())
    count = sum(p.numel() for p in checkpoint.flow_map.parameters())
    assert checkpoint.description["parameters"] == count


def test_the_recipe_still_writes_the_frozen_checkpoint(tmp_path):
    """Parameters of the same names and shapes; the values depend on the version of torch."""
    main(tmp_path)
    made, frozen = (load_checkpoint(path).flow_map.state_dict() for path in (tmp_path, FROZEN))
    assert {k: v.shape for k, v in made.items()} == {k: v.shape for k, v in frozen.items()}


def test_saving_what_was_loaded_is_bitwise(tmp_path):
    first = load_checkpoint(FROZEN)
    description = {
        key: first.description[key]
        for key in (
            "system",
            "ensemble",
            "ensemble_hash",
            "data_hash",
            "split",
            "scale_nm",
            "record",
        )
    }
    graph = MolecularGraph.from_dict(first.description["graph"])
    pdb = (FROZEN / "topology.pdb").read_text()
    save_checkpoint(tmp_path / "again", first.flow_map, graph, CONFIG, description, pdb)
    for name in ("model.safetensors", "topology.pdb"):
        assert (tmp_path / "again" / name).read_bytes() == (FROZEN / name).read_bytes()
    again, ours = load_checkpoint(tmp_path / "again").description, first.description
    assert again.keys() == ours.keys()
    for key in again.keys() - {"versions", "configuration"}:
        assert again[key] == ours[key]
    # Settings of training may come and go; those of the map may not.
    assert again["configuration"]["network"].pop("kind") == "dense"
    assert again["configuration"]["map"].pop("kind") == "denoiser"
    assert again["configuration"]["map"].pop("etas") is None
    for section in ("network", "map"):
        assert again["configuration"][section] == ours["configuration"][section]
    assert {p.name for p in (tmp_path / "again").iterdir()} == {
        "model.json", "model.safetensors", "topology.pdb",
    }  # fmt: skip


def test_settings_of_training_that_are_unknown_here_do_not_matter(folder):
    configuration = load_checkpoint(folder).description["configuration"]
    edit(folder, configuration=configuration | {"optimiser": "none of ours"})
    assert load_checkpoint(folder).n_atoms == 6


def test_the_run_folder_will_do_too(folder):
    assert find_checkpoint(folder.parent) == folder
    assert find_checkpoint(folder) == folder


def damage_weights(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))


def truncate_description(folder):
    path = folder / "model.json"
    path.write_text(path.read_text()[:-40])


def wrong_weights(folder):
    from safetensors.torch import save_file

    from molflow.files import sha256_of

    save_file({"network.last": torch.zeros(2, 1)}, folder / "model.safetensors")
    edit(folder, weights_sha256=sha256_of(folder / "model.safetensors"))


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (damage_weights, "is damaged: model.safetensors is not the file that model.json describes"),
        (wrong_weights, "the weights of the checkpoint .* cannot be read"),
        (truncate_description, "model.json' is damaged: it is not JSON"),
        (lambda folder: (folder / "model.safetensors").unlink(), "weights .* cannot be read"),
        (lambda folder: (folder / "model.json").unlink(), "is not a checkpoint: "),
        (lambda folder: (folder / "model.json").write_text("[1]"), "is damaged"),
        (lambda folder: edit(folder, graph=None), "is damaged: .*graph"),
        (
            lambda folder: edit(folder, configuration={"network": {"depth": 3}}),
            "is damaged: .*depth",
        ),
        (lambda folder: edit(folder, format_version=2), "has format 2, and this molflow reads up"),
    ],
)
def test_damage_is_a_sentence(folder, harm, sentence):
    harm(folder)
    with pytest.raises(MolflowError, match=f"(?s){sentence}"):
        load_checkpoint(folder)


def test_missing_topology_is_a_sentence(folder):
    (folder / "topology.pdb").unlink()
    with pytest.raises(MolflowError, match="lacks topology.pdb"):
        load_checkpoint(folder).topology()


def test_what_does_not_exist_is_a_sentence(tmp_path):
    with pytest.raises(MolflowError, match="no checkpoint.*nothing.*molflow train") as said:
        load_checkpoint(tmp_path / "nothing")
    shipped = "alanine_dipeptide, alanine_dipeptide:beads5, alanine_dipeptide:dynamics, "
    last = ", alanine_tetrapeptide, alanine_tripeptide, capped_residues, chignolin."
    assert shipped in str(said.value) and str(said.value).endswith(last)
    with pytest.raises(MolflowError, match="is not a checkpoint"):
        load_checkpoint(tmp_path)
    with pytest.raises(MolflowError, match="no selection 'tail'"):
        load_checkpoint("alanine_dipeptide:tail")


def test_a_system_without_a_checkpoint_is_a_sentence(tmp_path, monkeypatch):
    import molflow.training.checkpoint as module

    monkeypatch.setattr(module, "systems_folder", lambda: tmp_path)
    with pytest.raises(MolflowError, match="comes without a checkpoint"):
        load_checkpoint("alanine_dipeptide")


def test_built_in_names_find_the_checkpoint_of_the_selection(folder, tmp_path, monkeypatch):
    import molflow.training.checkpoint as module

    home = tmp_path / "systems" / "alanine_dipeptide"
    home.mkdir(parents=True)
    shutil.copytree(folder, home / "checkpoint-beads6")
    monkeypatch.setattr(module, "systems_folder", lambda: tmp_path / "systems")
    monkeypatch.chdir(tmp_path / "systems")
    assert load_checkpoint(LABEL).folder == home / "checkpoint-beads6"
