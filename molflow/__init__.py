"""Strong stochastic flow maps of molecular systems.

The verbs of the command line are functions here. They and the folders are loaded on first use, so
that ``import molflow`` itself needs neither torch nor OpenMM, mdtraj or Lightning. What there is
stands in ``__init__.pyi``, for people, editors and type checkers alike.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__.append("__version__")


def __dir__():
    return sorted(__all__)
