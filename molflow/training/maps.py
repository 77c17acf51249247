"""From the configuration of a map to the map."""

from __future__ import annotations

import math

from molflow.flow_map.base import FlowMap
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.maps.dynamics.flow_map import CLOCK, DynamicsFlowMap
from molflow.maps.dynamics.scales import LangevinScales
from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap
from molflow.maps.langevin.flow_map import LangevinFlowMap
from molflow.maps.overdamped.flow_map import OverdampedFlowMap
from molflow.nn.graph import MolecularGraph
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.training.map_configuration import AnyMapConfig, LangevinConfig, MapConfig
from molflow.training.network_configuration import NetworkConfig
from molflow.training.networks import build_network


def build_flow_map(
    graph: MolecularGraph,
    network: NetworkConfig,
    map_: AnyMapConfig,
    scales: LangevinScales | None = None,
) -> FlowMap:
    """Return an untrained flow map of a configuration; `scales` are for those of dynamics."""
    if isinstance(map_, LangevinConfig):
        return _dynamics(graph, network, map_, scales)
    return _denoiser(graph, network, map_)


def _denoiser(graph: MolecularGraph, network: NetworkConfig, map_: MapConfig) -> DenoiserFlowMap:
    sde = ReverseDiffusion(map_.sigma_max, map_.sigma_min, map_.eta)
    inputs = sde.basis(map_.order).size
    net = build_network(network, graph, inputs, sde.duration, sde.sigma_max)
    clock = StepClock(sde.duration, math.log(map_.sigma_max / map_.focus), map_.focus_weight)
    return DenoiserFlowMap(net, sde, map_.order, clock)


def _dynamics(
    graph: MolecularGraph, network: NetworkConfig, map_: LangevinConfig, scales: LangevinScales
) -> DynamicsFlowMap:
    kind = LangevinFlowMap if scales.bonded is None else BondedLangevinFlowMap
    if map_.kind == "overdamped":
        kind = OverdampedFlowMap
    # There is no noise on the positions.
    net = build_network(network, graph, kind.inputs(map_.order), CLOCK, 0.0, kind.outputs)
    return kind(net, scales, map_.order)
