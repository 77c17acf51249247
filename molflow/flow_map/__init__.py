"""The strong flow map: lift and martingale by formula, the rest by a network."""

from molflow.flow_map.base import FlowMap
from molflow.flow_map.frozen import FrozenFlowMap
from molflow.flow_map.lifted import LiftedFlowMap
from molflow.flow_map.rollout import rollout

__all__ = ["FlowMap", "FrozenFlowMap", "LiftedFlowMap", "rollout"]
