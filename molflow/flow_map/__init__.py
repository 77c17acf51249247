"""The strong flow map: lift and martingale by formula, the rest by a network."""

from molflow.flow_map.bonded_langevin import BondedLangevinFlowMap
from molflow.flow_map.clock import StepClock
from molflow.flow_map.denoiser import DenoiserFlowMap
from molflow.flow_map.langevin import LangevinFlowMap
from molflow.flow_map.langevin_scales import LangevinScales
from molflow.flow_map.overdamped import OverdampedFlowMap
from molflow.flow_map.rollout import rollout

__all__ = [
    "DenoiserFlowMap",
    "BondedLangevinFlowMap",
    "LangevinFlowMap",
    "LangevinScales",
    "OverdampedFlowMap",
    "StepClock",
    "rollout",
]
