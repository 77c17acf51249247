"""The strong flow map: lift and martingale by formula, the rest by a network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
