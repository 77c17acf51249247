r"""Least squares for the coefficients of a formula whose bonds and angles are convex.

In units of their widths the diagonal polynomials are P(z) = Σ b_p z^p. Let

    m = min_z P''(z) = 2 b₂ − 3 b₃²/(4 b₄),

then Σ P_i(z_i) + Σ C_ij z_i z_j is convex everywhere if diag(m) + C is positive definite. That is
two linear matrix inequalities in the coefficients and one more number d ≤ m for each class,

    [[2 b₂ − d, 3 b₃], [3 b₃, 12 b₄]] ⪰ 0,     diag(d) + C ⪰ floor,

and the problem is a convex one. It is solved by the alternating direction method of multipliers
(Boyd et al., Found. Trends Mach. Learn. 3, 1, 2011): of its two steps one is a linear solve and the
other a projection on the cones, by eigenvectors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.valence.design import Design

#: First penalty, iterations, between how many it is looked at, and the largest error that is left,
#: in units of a typical coefficient.
_RHO, _ITERATIONS, _BALANCED, _TOLERANCE = 0.03, 2000, 25, 1e-4
#: By how much more than that error what is found is moved into the cones.
_SLACK = 1e-3
#: kJ/mol: the least curvature along a coordinate of one width; free ones have kT.
FLOOR = 0.05


def convex_coefficients(gram: Tensor, right: Tensor, design: Design) -> Tensor:
    """Return the coefficients (size,) that minimise cᵀ G c/2 − gᵀ c among convex formulas.

    Parameters
    ----------
    gram : Tensor, (size, size) float64
        G, positive definite.
    right : Tensor, (size,) float64
        g.
    design : Design
    """
    # In units of a typical coefficient, so that penalty and tolerance mean the same for all data.
    second = design.diagonal[:, 1]
    unit = gram.diagonal()[second].mean()
    energy = float((right / gram.diagonal())[second].abs().median().clamp(min=FLOOR))
    cones = _Cones(design, FLOOR / energy)
    total = design.size + len(design.diagonal)
    hessian, linear = gram.new_zeros(total, total), gram.new_zeros(total)
    hessian[: design.size, : design.size] = gram / unit
    linear[: design.size] = right / (unit * energy)
    found = _minimum(hessian, linear, cones)
    return energy * _made_convex(found, cones)


def _minimum(hessian: Tensor, linear: Tensor, cones: _Cones) -> Tensor:
    """Return the x that minimises xᵀ H x/2 − gᵀ x with its images in the cones, nearly."""
    normal, rho = cones.normal(), _RHO
    factor = torch.linalg.cholesky(hessian + rho * normal)
    x = torch.cholesky_solve(linear[:, None], factor)[:, 0]
    inside = cones.project(cones.apply(x))
    sums = [image - point for image, point in zip(cones.apply(x), inside, strict=True)]
    for iteration in range(1, _ITERATIONS + 1):
        pull = cones.transpose([point - far for point, far in zip(inside, sums, strict=True)])
        x = torch.cholesky_solve((linear + rho * pull)[:, None], factor)[:, 0]
        images, before = cones.apply(x), inside
        inside = cones.project([a + far for a, far in zip(images, sums, strict=True)])
        gaps = [a - point for a, point in zip(images, inside, strict=True)]
        sums = [far + gap for far, gap in zip(sums, gaps, strict=True)]
        gap = _largest(gaps)
        move = rho * _largest([a - b for a, b in zip(inside, before, strict=True)])
        if max(gap, move) < _TOLERANCE:
            break
        # The two errors are kept alike by the penalty, now and then.
        if iteration % _BALANCED == 0 and not 0.1 * move < gap < 10.0 * move:
            by = 3.0 if gap > move else 1.0 / 3.0
            rho, sums = by * rho, [far / by for far in sums]
            factor = torch.linalg.cholesky(hessian + rho * normal)
    return x


def _largest(parts: list[Tensor]) -> float:
    return max(float(part.abs().max()) for part in parts if part.numel())


def least_curvature(coefficients: Tensor, design: Design) -> float:
    """Return a lower bound of the curvature of bonds and angles together, everywhere, kJ/mol.

    It is the smallest eigenvalue of diag(m) + C in units of the widths, minus infinity where a
    polynomial has no smallest curvature.
    """
    _, second, third, fourth = coefficients[design.diagonal].T
    lowest = 2.0 * second - 0.75 * third.square() / fourth.clamp(min=1e-300)
    lowest = torch.where(third == 0.0, 2.0 * second, lowest)
    if bool((fourth < 0.0).any()) or not bool(lowest.isfinite().all()):
        return -float("inf")
    curvature = _Cones(design).matrix(torch.cat([coefficients, lowest]))
    return float(torch.linalg.eigvalsh(curvature)[0])


def _made_convex(x: Tensor, cones: _Cones) -> Tensor:
    """Return the coefficients of x, changed by as much as its errors are so that they are convex.

    Quartic terms are raised to what the others need, and couplings shrunk.
    """
    design = cones.design
    found, wanted = x[: design.size].clone(), x[design.size :].clamp(min=cones.floor)
    _, second, third, fourth = design.diagonal.T
    found[second] = found[second].clamp(min=0.5 * (wanted.min() + _SLACK))
    spare = (2.0 * found[second] - wanted).clamp(min=_SLACK)
    found[fourth] = torch.maximum(found[fourth], 0.75 * found[third].square() / spare)
    found[fourth] = found[fourth].clamp(min=_TOLERANCE)
    first = found[design.straight[:, 1]].clamp(min=0.0)
    found[design.straight[:, 1]] = first
    lowest = -4.0 * first / cones.bent_width
    found[design.straight[:, 0]] = torch.maximum(found[design.straight[:, 0]], lowest)
    curvatures = 2.0 * found[second] - spare
    while float(torch.linalg.eigvalsh(cones.matrix(torch.cat([found, curvatures])))[0]) < (
        0.5 * cones.floor
    ):
        found[design.pairs] *= 1.0 - _SLACK
    return found


class _Cones:
    """What has to be positive, as linear functions of coefficients and curvatures d.

    The first are symmetric matrices of two rows by class of bonds and angles, written as
    (classes, 3) with the root of 2 on the off-diagonal, so that lengths are those of matrices; then
    the matrix diag(d) + C; then numbers of straight angles.
    """

    def __init__(self, design: Design, floor: float = FLOOR):
        self.design, self.floor, self.of = design, floor, design.of["diagonal"]
        self.classes, self.size = len(design.diagonal), design.size
        self.curvatures = torch.arange(self.size, self.size + self.classes)
        pairs = torch.tensor(design.terms.pairs).long().reshape(-1, 2)
        self.a, self.b, self.pair_of = pairs[:, 0], pairs[:, 1], design.of["pairs"]
        rows = torch.zeros(self.classes, 3, self.size + self.classes, dtype=torch.float64)
        each = torch.arange(self.classes)
        rows[each, 0, design.diagonal[:, 1]] = 2.0
        rows[each, 0, self.curvatures] = -1.0
        rows[each, 1, design.diagonal[:, 2]] = 3.0 * 2.0**0.5
        rows[each, 2, design.diagonal[:, 3]] = 12.0
        self.rows = rows.flatten(0, 1)
        # U = b₁ w + b₂ w² of w = u/width, 0 ≤ u ≤ 2, is convex and rises at the end.
        count = len(design.straight)
        self.bent = torch.zeros(2 * count, self.size + self.classes, dtype=torch.float64)
        self.bent_width = torch.ones(count, dtype=torch.float64)
        self.bent_width[design.of["straight"]] = design.measures.bent
        each = torch.arange(count)
        self.bent[each, design.straight[:, 1]] = 1.0
        self.bent[count + each, design.straight[:, 0]] = 0.25 * self.bent_width
        self.bent[count + each, design.straight[:, 1]] = 1.0

    def matrix(self, x: Tensor) -> Tensor:
        found = x.new_zeros(len(self.of), len(self.of))
        couplings = x[self.design.pairs][self.pair_of]
        found[self.a, self.b] = couplings
        found[self.b, self.a] = couplings
        found.diagonal().copy_(x[self.size :][self.of])
        return found

    def apply(self, x: Tensor) -> list[Tensor]:
        return [(self.rows @ x).reshape(-1, 3), self.matrix(x), self.bent @ x]

    def transpose(self, images: list[Tensor]) -> Tensor:
        small, large, bends = images
        found = self.rows.mT @ small.flatten() + self.bent.mT @ bends
        found.index_add_(0, self.curvatures[self.of], large.diagonal().contiguous())
        both = large[self.a, self.b] + large[self.b, self.a]
        return found.index_add_(0, self.design.pairs[self.pair_of], both)

    def normal(self) -> Tensor:
        """Return AᵀA of `apply`; each entry of the large matrix is one of the variables."""
        found = self.rows.mT @ self.rows + self.bent.mT @ self.bent
        count = torch.zeros(len(found), dtype=torch.float64)
        count.index_add_(0, self.curvatures[self.of], torch.ones(len(self.of), dtype=count.dtype))
        twos = torch.full((len(self.a),), 2.0, dtype=count.dtype)
        count.index_add_(0, self.design.pairs[self.pair_of], twos)
        return found + torch.diag(count)

    def project(self, images: list[Tensor]) -> list[Tensor]:
        small, large, bends = images
        root = 2.0**0.5
        off = small[:, 1] / root
        matrices = torch.stack([small[:, 0], off, off, small[:, 2]], dim=1).reshape(-1, 2, 2)
        values, vectors = torch.linalg.eigh(matrices)
        matrices = (vectors * values.clamp(min=0.0)[:, None]) @ vectors.mT
        small = torch.stack([matrices[:, 0, 0], root * matrices[:, 0, 1], matrices[:, 1, 1]], 1)
        values, vectors = torch.linalg.eigh(large)
        return [small, (vectors * values.clamp(min=self.floor)) @ vectors.mT, bends.clamp(min=0.0)]
