# What the package offers; loaded when it is first asked for.
from . import analysis as analysis
from . import brownian as brownian
from . import checking as checking
from . import data as data
from . import flow_map as flow_map
from . import maps as maps
from . import md as md
from . import nn as nn
from . import objectives as objectives
from . import propagation as propagation
from . import refinement as refinement
from . import sampling as sampling
from . import sde as sde
from . import setup as setup
from . import solvers as solvers
from . import step_study as step_study
from . import testing as testing
from . import training as training
from . import units as units
from .checking.check import check as check
from .comparison import compare as compare
from .data.prepare import prepare as prepare
from .demonstration import demo as demo
from .errors import MolflowError as MolflowError
from .md.label import label as label
from .md.simulate import simulate as simulate
from .propagation.propagate import propagate as propagate
from .refinement.refine import refine as refine
from .resampling import resample as resample
from .sampling.ensemble import sample as sample
from .setup.init import init as init
from .slow_motions import kinetics as kinetics
from .step_study.study import study as study
from .systems import load_system as load_system
from .training.run import train as train

__version__: str
