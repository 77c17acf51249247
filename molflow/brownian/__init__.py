"""The Brownian path of a step as a few numbers: sampling, joining, refining, differentiating."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
