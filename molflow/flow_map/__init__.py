"""The strong flow map: lift and martingale by formula, the rest by a network."""

from molflow.flow_map.denoiser import DenoiserFlowMap
from molflow.flow_map.rollout import rollout, time_grid

__all__ = ["DenoiserFlowMap", "rollout", "time_grid"]
