"""Small maps of Langevin dynamics with random weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from toy_maps import GRAPH, SIZES

from molflow.bonded_terms import BondedTerms
from molflow.maps.dynamics.flow_map import CLOCK
from molflow.maps.dynamics.scales import LangevinScales
from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap
from molflow.maps.langevin.flow_map import LangevinFlowMap
from molflow.maps.overdamped.flow_map import OverdampedFlowMap
from molflow.nn.dense_attention import DenseAttention

SCALES = LangevinScales(
    masses=(12.0, 1.0, 14.0, 16.0, 12.0),
    forces=(800.0, 500.0, 900.0, 950.0, 700.0),
    length=0.15,
    temperature=300.0,
    friction=2.0,
    longest_lag=0.04,
)
#: The bonds of `GRAPH`, and angles and torsions along them.
BONDED = BondedTerms(
    bonds=((0, 1, 0.11, 280000.0), (0, 2, 0.13, 400000.0), (2, 3, 0.14, 300000.0),
           (3, 4, 0.15, 250000.0)),
    angles=((1, 0, 2, 1.9, 400.0), (0, 2, 3, 2.0, 500.0), (2, 3, 4, 2.1, 600.0)),
    torsions=((1, 0, 2, 3, 3, 0.4, 8.0), (1, 0, 2, 3, 1, 3.1, 4.0), (0, 2, 3, 4, 2, 3.14, 10.0)),
)  # fmt: skip
KINDS = {
    "langevin": LangevinFlowMap,
    "overdamped": OverdampedFlowMap,
    "bonded": BondedLangevinFlowMap,
}


def random_dynamics(kind="langevin", order=3, seed=0, scales=SCALES):
    """Return a map in float64 of the five atoms of `GRAPH` whose last layer is random too."""
    made = KINDS[kind]
    if kind == "bonded":
        scales = replace(scales, bonded=BONDED)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = DenseAttention(
            GRAPH, made.inputs(order), CLOCK, **SIZES, sigma_max=0.0, outputs=made.outputs
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
