"""Write the checkpoint of tests/data/checkpoint-v1: ``python make_frozen_checkpoint.py FOLDER``.

The folder is committed and stays as it is: later versions of molflow must read it and give the
output that is recorded in it. Only a new format version gets a new folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from molflow.files import write_json
from molflow.nn.graph import MolecularGraph
from molflow.systems import load_system
from molflow.training.checkpoint import save_checkpoint
from molflow.training.configuration import TrainingConfig
from molflow.training.kinds import build_flow_map
from molflow.training.run import system_pdb

LABEL = "alanine_dipeptide:beads6"
CONFIG = TrainingConfig(
    network={"scalars": 4, "vectors": 2, "heads": 1, "layers": 1, "pair_width": 2},
    map={"sigma_max": 4.0, "sigma_min": 0.5, "order": 2},
)


def probe():
    """Return s, t, x and whitened features, made without a random generator."""
    x = torch.sin(1.0 + torch.arange(2 * 6 * 3)).reshape(2, 6, 3)
    z = torch.cos(2.0 + 0.7 * torch.arange(2 * 6 * 3 * 3)).reshape(2, 6, 3, 3)
    s, t = torch.tensor([0.25, 1.0]), torch.tensor([1.5, 2.0])
    return s, t, x - x.mean(1, keepdim=True), z - z.mean(1, keepdim=True)


def main(folder: Path) -> None:
    """Write the checkpoint and what its mean denoiser gives for `probe`."""
    system = load_system(LABEL)
    topology = system.topology()
    graph = MolecularGraph.from_topology(topology)
    torch.manual_seed(20)
    flow_map = build_flow_map(graph, CONFIG.network, CONFIG.map)
    nn.init.normal_(flow_map.network.last)
    description = {
        "system": LABEL,
        "ensemble": system.ensemble,
        "ensemble_hash": system.ensemble_hash,
        "data_hash": "0" * 64,
        "split": {"train": [0], "validation": [1], "held_out": [2]},
        "scale_nm": 0.125,
        "record": {"steps": 0, "frames": 0, "seconds": 0, "machine": "", "curves": []},
    }
    pdb = system_pdb(topology, system.start_positions()[system.atoms])
    save_checkpoint(folder, flow_map, graph, CONFIG, description, pdb)
    with torch.no_grad():
        output = flow_map.mean(*probe())
    write_json(folder / "output.json", output.tolist())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
