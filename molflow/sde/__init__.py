"""Stochastic differential equations with additive noise, and toy systems with exact answers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
