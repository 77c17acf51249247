"""Values of internal coordinates and their derivatives, by closed formulas without branches.

Coordinates of space run over the second axis and terms over the last, which is the longest.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Squared sines below it are of straight angles, whose torsions have no direction.
STRAIGHT = 1e-8


def bond(at: Tensor) -> tuple[Tensor, Tensor]:
    """Return lengths (batch, 1, n) and their derivatives (batch, 3, 2 n).

    Parameters
    ----------
    at : Tensor, (batch, 3, 2 n)
        All first atoms, then all second ones, and likewise for the other coordinates.
    """
    i, j = at.chunk(2, dim=-1)
    d = j - i
    r = norm(d)
    unit = d / r
    return r, torch.cat([-unit, unit], dim=-1)


def angle(at: Tensor) -> tuple[Tensor, Tensor]:
    """Return angles i-j-k (batch, 1, n) in radians and their derivatives (batch, 3, 3 n)."""
    i, j, k = at.chunk(3, dim=-1)
    a, b = i - j, k - j
    normal = torch.linalg.cross(a, b, dim=1)
    sine = norm(normal)
    theta = torch.atan2(sine, (a * b).sum(1, keepdim=True))
    # dθ/di = a × (a × b)/(|a|² |a × b|), and likewise for k.
    on_i = torch.linalg.cross(a, normal, dim=1) / (square(a) * sine)
    on_k = torch.linalg.cross(normal, b, dim=1) / (square(b) * sine)
    return theta, torch.cat([on_i, -on_i - on_k, on_k], dim=-1)


def bend(at: Tensor) -> tuple[Tensor, Tensor]:
    """Return 1 + cos θ of angles (batch, 1, n), smooth where they are straight, and derivatives."""
    i, j, k = at.chunk(3, dim=-1)
    a, b = i - j, k - j
    product = norm(a) * norm(b)
    cosine = (a * b).sum(1, keepdim=True) / product
    on_i = b / product - cosine / square(a) * a
    on_k = a / product - cosine / square(b) * b
    return 1.0 + cosine, torch.cat([on_i, -on_i - on_k, on_k], dim=-1)


def torsion(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return cosines and sines of torsions i-j-k-l (batch, 1, n), and dφ/dx (batch, 3, 4 n).

    Where one of the angles is straight the torsion has no value and its derivative is zero.
    """
    i, j, k, l = at.chunk(4, dim=-1)  # noqa: E741
    a, b, c = j - i, k - j, l - k
    m, n = torch.linalg.cross(a, b, dim=1), torch.linalg.cross(b, c, dim=1)
    m2, n2, b2 = square(m), square(n), square(b)
    sound = (m2 > STRAIGHT * square(a) * b2) & (n2 > STRAIGHT * square(c) * b2)
    m2, n2 = torch.where(sound, m2, 1.0), torch.where(sound, n2, 1.0)
    scale = torch.rsqrt(m2 * n2)
    cosine = (m * n).sum(1, keepdim=True) * scale
    length = b2.sqrt()
    sine = length * (a * n).sum(1, keepdim=True) * scale
    # dφ/di = −|b| m/m², dφ/dl = |b| n/n²; the rest follows from force and torque being none.
    length = torch.where(sound, length, 0.0)
    on_i, on_l = -length / m2 * m, length / n2 * n
    near, far = (a * b).sum(1, keepdim=True) / b2, (c * b).sum(1, keepdim=True) / b2
    on_j = -(1.0 + near) * on_i + far * on_l
    return cosine, sine, torch.cat([on_i, on_j, -on_i - on_j - on_l, on_l], dim=-1)


def square(vectors: Tensor) -> Tensor:
    """Return squared lengths, never zero: coincident atoms have no direction, and no force."""
    return vectors.square().sum(1, keepdim=True).clamp(min=torch.finfo(vectors.dtype).tiny ** 0.5)


def norm(vectors: Tensor) -> Tensor:
    """Return lengths, never zero."""
    return square(vectors).sqrt()
