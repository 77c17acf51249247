"""Targets of the denoiser that are averaged over all that a noisy conformation may come from."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

#: Logarithm of the share of the most probable pair below which a pair is left out.
_NEGLIGIBLE = -25.0
#: Gauss-Legendre nodes on [0, 1] of the integral over rotations.
_NODES, _WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(24))
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS


def grouped_mean(
    noisy: Tensor, sigma: Tensor, clean: Tensor, factors: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Return `posterior_mean` of noisy conformations, each among the clean ones of its group.

    Groups have `size` members or a few more, one in so many of all rows, so that each has noise of
    all widths.
    """
    groups = max(1, len(noisy) // size)
    target, factor = torch.empty_like(noisy), torch.empty_like(sigma)
    for k in range(groups):
        own = slice(k, None, groups)
        target[own], factor[own] = posterior_mean(noisy[own], sigma[own], clean[own], factors[own])
    return target, factor


def posterior_mean(
    noisy: Tensor, sigma: Tensor, clean: Tensor, factors: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return the mean of what noisy conformations come from: clean ones in any orientation.

    With the prior (1/M) Σ_i of clean conformations y_i in all orientations R,

        E[R y | x] = Σ_i w_i E_i[R] y_i / Σ_i w_i,   w_i = exp(−|y_i|²/2σ²) Z(F_i/σ²),
        F_i = Σ_atoms x y_iᵀ,   Z(F) = ∫ exp(tr Rᵀ F) dR,   E_i[R] = ∂ log Z(F_i/σ²) / ∂F.

    If x came from y_j, j any of them, this is the mean of y_j given x and all the y_i (Rao and
    Blackwell): in the place of y_j as the target of a denoiser that turns with its input it leaves
    the minimiser as it is, and takes most of the scatter away where many y_i are possible (stable
    targets, Xu, Tong and Jaakkola 2023, arXiv 2302.00670, here with the orientations).

    Parameters
    ----------
    noisy : Tensor, (B, atoms, 3)
        Centred.
    sigma : Tensor, (B,)
        Width of the noise.
    clean : Tensor, (M, atoms, 3)
        Centred.
    factors : Tensor, (M,)
        Of the loss of each clean conformation.

    Returns
    -------
    Tensor, (B, atoms, 3)
        The mean under the factors.
    Tensor, (B,)
        The mean factor, of the loss of this target.
    """
    x, y = noisy.double(), clean.double()
    precision = sigma.double().square().reciprocal()
    crossed = torch.einsum("bai,maj->bmij", x, y) * precision[:, None, None, None]
    sizes = 0.5 * y.square().sum((1, 2))
    singular = signed_singular_values(crossed)
    # Z is at most exp of the sum, and less by no more than powers of its singular values.
    bound = singular.sum(-1) - precision[:, None] * sizes
    rows, columns = torch.nonzero(
        bound > bound.amax(1, keepdim=True) + _NEGLIGIBLE, as_tuple=True
    )
    crossed, singular = crossed[rows, columns], singular[rows, columns]
    log_z, slopes = log_normaliser(singular)
    log_weight = torch.full_like(bound, -math.inf)
    log_weight[rows, columns] = log_z - (precision[:, None] * sizes)[rows, columns]
    weight = torch.softmax(log_weight, dim=1)
    mean_factor = weight @ factors.double()
    share = (weight * factors.double())[rows, columns] / mean_factor[rows]
    turned = mean_rotation(crossed, singular, slopes) @ y[columns].mT
    target = torch.zeros_like(x).index_add_(0, rows, share[:, None, None] * turned.mT)
    return target.to(noisy.dtype), mean_factor.to(sigma.dtype)


def signed_singular_values(matrices: Tensor) -> Tensor:
    """Return s1 ≥ s2 ≥ |s3| of matrices (..., 3, 3), s3 with the sign of the determinant."""
    square = matrices.mT @ matrices
    # Eigenvalues of a symmetric 3 x 3 matrix by the cosine of a third of an angle.
    middle = square.diagonal(dim1=-2, dim2=-1).mean(-1)
    rest = square - middle[..., None, None] * torch.eye(3, dtype=square.dtype)
    width = (rest.square().sum((-2, -1)) / 6.0).sqrt().clamp_min(1e-300)
    cosine = (0.5 * _determinant(rest / width[..., None, None])).clamp(-1.0, 1.0)
    angle = torch.arccos(cosine) / 3.0
    largest = middle + 2.0 * width * torch.cos(angle)
    smallest = middle + 2.0 * width * torch.cos(angle + 2.0 * math.pi / 3.0)
    first = largest.clamp_min(0.0).sqrt()
    # Of atoms on a line it would be zero, and singular directions no function of the matrix.
    second = torch.maximum((3.0 * middle - largest - smallest).clamp_min(0.0).sqrt(), 1e-6 * first)
    third = _determinant(matrices) / (first * second).clamp_min(1e-300)
    return torch.stack([first, second, third.clamp(-second, second)], dim=-1)


def _determinant(matrices: Tensor) -> Tensor:
    a, b, c = matrices.unbind(-2)
    return (torch.linalg.cross(a, b, dim=-1) * c).sum(-1)


def log_normaliser(singular: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return log Z of singular values (..., 3), over the uniform law of rotations, and slopes.

    An integral in one dimension (Lee 2018, arXiv 1710.03746), with y = (1 − u)/2 = Y z²,

        Z = ∫_{-1}^1 ½ I_0[½(s_1 − s_2)(1 − u)] I_0[½(s_1 + s_2)(1 + u)] exp(s_3 u) du,

    of which exp(s_1 + s_2 + s_3) is taken out.
    """
    s1, s2, s3 = (part[..., None] for part in singular.unbind(-1))
    reach = (20.0 / (s2 + s3).clamp_min(1e-6)).clamp_max(1.0)
    y = reach * _NODES.square()
    one, two = (s1 - s2) * y, (s1 + s2) * (1.0 - y)
    i0 = torch.special.i0e(one), torch.special.i0e(two)
    density = 2.0 * reach * _NODES * _WEIGHTS * i0[0] * i0[1] * torch.exp(-2.0 * (s2 + s3) * y)
    total = density.sum(-1)
    a = torch.special.i1e(one) / i0[0] * y
    b = torch.special.i1e(two) / i0[1] * (1.0 - y)
    slopes = [(density * part).sum(-1) / total for part in (a + b, b - a, 1.0 - 2.0 * y)]
    return singular.sum(-1) + total.log(), torch.stack(slopes, dim=-1)


def mean_rotation(matrices: Tensor, singular: Tensor, slopes: Tensor) -> Tensor:
    r"""Return ∂ log Z/∂F = Σ_k g_k u_k v_kᵀ of F = Σ_k s_k u_k v_kᵀ, (..., 3, 3).

    As a F + b cof F + c F Fᵀ F, whose values in the singular directions are s_k, s_i s_j and s_k³:
    no direction has to be found.
    """
    scale = singular[..., :1]
    s = singular / scale
    crossed = s[..., [1, 2, 0]] * s[..., [2, 0, 1]]
    system = torch.stack([s, crossed, s**3], dim=-1)
    a, b, c = torch.linalg.solve(system, slopes).unbind(-1)
    f = matrices / scale[..., None]
    rows = f[..., [1, 2, 0], :], f[..., [2, 0, 1], :]
    cofactors = torch.linalg.cross(*rows, dim=-1)
    a, b, c = (part[..., None, None] for part in (a, b, c))
    return a * f + b * cofactors + c * (f @ f.mT @ f)
