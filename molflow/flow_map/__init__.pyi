# What the folder offers; loaded when it is first asked for.
from .base import FlowMap as FlowMap
from .frozen import FrozenFlowMap as FrozenFlowMap
from .lifted import LiftedFlowMap as LiftedFlowMap
from .rollout import rollout as rollout
