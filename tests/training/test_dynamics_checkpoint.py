"""Checkpoints of Langevin maps: what is written is read, and each verb refuses the other's."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from molflow.checking.check import check
from molflow.errors import MolflowError
from molflow.maps.dynamics.scales import LangevinScales
from molflow.maps.langevin.flow_map import LangevinFlowMap
from molflow.maps.overdamped.flow_map import OverdampedFlowMap
from molflow.nn.graph import MolecularGraph
from molflow.sampling.ensemble import sample
from molflow.step_study.study import study
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint, save_checkpoint
from molflow.training.configuration import TrainingConfig
from molflow.training.kinds import build_flow_map
from molflow.training.run import system_pdb

FROZEN = Path(__file__).parent.parent / "data" / "checkpoint-v1"
NETWORKS = {
    "dense": {"scalars": 4, "vectors": 2, "heads": 1, "layers": 1, "pair_width": 2},
    "sparse": {
        "kind": "sparse", "scalars": 4, "vectors": 2, "heads": 1, "layers": 1, "edge_width": 2,
    },
    "tensor_product": {
        "kind": "tensor_product", "irreps": "4x0e + 2x1e", "layers": 1, "edge_width": 2,
    },
}  # fmt: skip


def write(folder, kind="langevin", network="dense"):
    """Write a checkpoint of a map with random weights; return the map."""
    config = TrainingConfig(
        network=NETWORKS[network], map={"kind": kind, "order": 3, "longest_lag": 0.02}
    )
    system = load_system("alanine_dipeptide")
    topology = system.topology()
    graph = MolecularGraph.from_topology(topology)
    masses = tuple(atom.element.mass for atom in topology.atoms)
    scales = LangevinScales(masses, (500.0,) * 22, 0.2, 300.0, 1.0, 0.02)
    torch.manual_seed(5)
    flow_map = build_flow_map(graph, config.network, config.map, scales)
    nn.init.normal_(flow_map.network.last)
    pdb = system_pdb(topology, system.start_positions())
    save_checkpoint(folder, flow_map, graph, config, {"system": "alanine_dipeptide"}, pdb)
    return flow_map


@pytest.mark.parametrize("kind", ["langevin", "overdamped"])
@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_saved_is_loaded(tmp_path, kind, network):
    made = write(tmp_path, kind, network)
    checkpoint = load_checkpoint(tmp_path)
    loaded = checkpoint.flow_map
    assert type(loaded) is {"langevin": LangevinFlowMap, "overdamped": OverdampedFlowMap}[kind]
    assert loaded.scales == made.scales and loaded.order == 3 and checkpoint.kind.use == "propagate"
    assert json.loads((tmp_path / "model.json").read_text())["dynamics"]["longest_lag"] == 0.02
    generator = torch.Generator().manual_seed(0)
    x = 0.1 * torch.randn(2, *[2] * (kind == "langevin"), 22, 3, generator=generator)
    z = torch.randn(2, 22, 3, loaded.basis.size, generator=generator)
    s, t = torch.zeros(2).double(), torch.tensor([0.001, 0.02]).double()
    with torch.no_grad():
        expected = made.mean(s, t, x, z)
        # The last digits of e3nn's differ from one object to the next.
        assert torch.allclose(loaded.mean(s, t, x, z), expected, rtol=1e-4, atol=1e-3)
        assert expected.abs().max() > 1.0


def test_each_verb_refuses_the_other_kind(tmp_path):
    write(tmp_path / "run")
    for verb in (sample, check, lambda name: study(name, tmp_path / "out")):
        with pytest.raises(MolflowError, match="is a map of Langevin dynamics, .* propagate"):
            verb(tmp_path / "run")
    load_checkpoint(tmp_path / "run").check_use("propagate")
    with pytest.raises(MolflowError, match="knows no dynamics: use molflow sample"):
        load_checkpoint(FROZEN).check_use("propagate")
    assert load_checkpoint(FROZEN).kind.use == "sample"


def test_damaged_scales_are_a_sentence(tmp_path):
    write(tmp_path)
    text = json.loads((tmp_path / "model.json").read_text())
    del text["dynamics"]["friction"]
    (tmp_path / "model.json").write_text(json.dumps(text))
    with pytest.raises(MolflowError, match="is damaged: model.json lacks or garbles 'friction'"):
        load_checkpoint(tmp_path)
