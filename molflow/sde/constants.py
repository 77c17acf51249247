"""Numbers of an equation that go where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from torch import Tensor, nn


class Constants(nn.Module):
    """Buffers of an equation, which follow `to` to a device and keep their precision.

    An equation is solved in double precision, also where a network that is part of it is not. They
    are not part of a checkpoint.

    Parameters
    ----------
    values : Tensor
        By name.
    """

    def __init__(self, **values: Tensor):
        super().__init__()
        for name, value in values.items():
            self.register_buffer(name, value, persistent=False)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor: ...

    def _apply(self, fn, recurse: bool = True) -> Self:
        kept = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in kept.items():
            moved = self._buffers[name]
            assert value is not None and moved is not None, "every constant has a value"
            if moved.dtype != value.dtype:
                self._buffers[name] = value.to(moved.device)
        return self
