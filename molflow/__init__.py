"""Strong stochastic flow maps of molecular systems.

The verbs of the command line are functions here. They are loaded on first use, so that
``import molflow`` itself needs neither torch nor OpenMM, mdtraj or Lightning.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "MolflowError": "molflow.errors",
    "check": "molflow.checking.check",
    "compare": "molflow.comparison",
    "demo": "molflow.demonstration",
    "kinetics": "molflow.slow_motions",
    "load_system": "molflow.systems",
    "prepare": "molflow.data.prepare",
    "propagate": "molflow.propagation.propagate",
    "refine": "molflow.refinement.refine",
    "resample": "molflow.resampling",
    "sample": "molflow.sampling.ensemble",
    "simulate": "molflow.md.simulate",
    "study": "molflow.step_study.study",
    "train": "molflow.training.run",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'molflow' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_HOME})
