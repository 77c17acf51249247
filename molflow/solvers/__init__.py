"""Reference integrators, one scheme a file, driven by a given Brownian path."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
