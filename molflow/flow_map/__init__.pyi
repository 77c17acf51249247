# What the folder offers; loaded when it is first asked for.
from .base import FlowMap as FlowMap
from .frozen import FrozenFlowMap as FrozenFlowMap
from .lifted import LiftedFlowMap as LiftedFlowMap
from .plain import PlainFlowMap as PlainFlowMap
from .rollout import rollout as rollout
