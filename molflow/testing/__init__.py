"""Checks for your own maps and networks: equivariance, strong order, semigroup."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
