"""The Müller-Brown surface, two dimensions with three basins."""

from __future__ import annotations

import torch
from torch import Tensor

_A = (-200.0, -100.0, -170.0, 15.0)
_XX = (-1.0, -1.0, -6.5, 0.7)
_XY = (0.0, 0.0, 11.0, 0.6)
_YY = (-10.0, -10.0, -6.5, 0.7)
_X = (1.0, 0.0, -0.5, -1.0)
_Y = (0.0, 0.5, 1.5, 1.0)


class MuellerBrown:
    """Energy and force of the surface of Müller and Brown, Theor. Chim. Acta 53, 75 (1979).

    U = scale Σ_k A_k exp[a_k (x − x_k)² + b_k (x − x_k)(y − y_k) + c_k (y − y_k)²], the force
    of one particle for `OverdampedLangevin` or `UnderdampedLangevin`: positions (B, 1, 2).

    Parameters
    ----------
    scale : float
        kJ/mol for one unit of the published energy, whose barriers are about 100 units high.
    """

    def __init__(self, scale: float = 0.1) -> None:
        self.scale = scale

    def energy(self, x: Tensor) -> Tensor:
        """Return U, (B,), at positions (B, 1, 2)."""
        first, second = x[:, 0, :1], x[:, 0, 1:]
        a, xx, xy, yy, x0, y0 = (
            torch.tensor(row, dtype=x.dtype, device=x.device) for row in (_A, _XX, _XY, _YY, _X, _Y)
        )
        dx, dy = first - x0, second - y0
        return self.scale * (a * torch.exp(xx * dx**2 + xy * dx * dy + yy * dy**2)).sum(1)

    def force(self, x: Tensor) -> Tensor:
        """Return −∇U, (B, 1, 2)."""
        return -torch.func.grad(lambda x: self.energy(x).sum())(x)
