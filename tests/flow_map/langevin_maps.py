"""Small maps of Langevin dynamics with random weights."""

from __future__ import annotations

import torch
from torch import nn
from toy_maps import GRAPH, SIZES

from molflow.flow_map.langevin import CLOCK, LangevinFlowMap
from molflow.flow_map.langevin_scales import LangevinScales
from molflow.flow_map.overdamped import OverdampedFlowMap
from molflow.nn.dense_attention import DenseAttention

SCALES = LangevinScales(
    masses=(12.0, 1.0, 14.0, 16.0, 12.0),
    forces=(800.0, 500.0, 900.0, 950.0, 700.0),
    length=0.15,
    temperature=300.0,
    friction=2.0,
    longest_lag=0.04,
)
KINDS = {"langevin": LangevinFlowMap, "overdamped": OverdampedFlowMap}


def random_dynamics(kind="langevin", order=3, seed=0, scales=SCALES):
    """Return a map in float64 of the five atoms of `GRAPH` whose last layer is random too."""
    made, outputs = KINDS[kind], 2 if kind == "langevin" else 1
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = DenseAttention(
            GRAPH, made.inputs(order), CLOCK, **SIZES, sigma_max=0.0, outputs=outputs
        )
        nn.init.normal_(network.last, std=0.3)
    return made(network, scales, order).double()


def thermal_state(kind, batch, seed=0):
    """Return states near a straight molecule, (batch, [2,] atoms, 3), and the generator."""
    generator = torch.Generator().manual_seed(seed)
    x = 0.15 * torch.randn(batch, 5, 3, generator=generator, dtype=torch.float64)
    if kind == "overdamped":
        return x, generator
    v = torch.randn(batch, 5, 3, generator=generator, dtype=torch.float64)
    return torch.stack([x, v], dim=1), generator
