"""One room for each kind of map; `molflow.training.kinds` says what a room has to offer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
