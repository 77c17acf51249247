"""A valence formula from the forces on frames, by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from molflow.errors import MolflowError
from molflow.valence.convex import convex_coefficients, least_curvature
from molflow.valence.design import Design, measured
from molflow.valence.formula import ValenceFormula
from molflow.valence.terms import valence_terms

#: Of the diagonal of the normal matrix. Series of torsions about one bond are nearly collinear:
#: less lets them grow against each other, which frames elsewhere would meet.
RIDGE = 1e-4


@dataclass(frozen=True)
class ValenceFit:
    """A fitted formula and how it was found.

    Attributes
    ----------
    formula : ValenceFormula
    coefficients : int
        Free numbers; terms that are alike share theirs.
    force, rest : float
        Root mean square of a component of the forces, and of what the formula leaves of it on the
        frames that it was fitted to, kJ/mol/nm.
    curvature : float
        The least curvature of bonds and angles together, anywhere, kJ/mol at one width of each.
    """

    formula: ValenceFormula
    coefficients: int
    force: float
    rest: float
    curvature: float


def fit_valence(
    numbers: Sequence[int],
    bonds: Sequence[tuple[int, int]],
    positions: np.ndarray,
    forces: np.ndarray,
) -> ValenceFit:
    """Fit a valence formula to forces.

    Forces are linear in the coefficients, F = −Σ c ∂(basis)/∂x, and the sum of squares over all
    frames and components is minimised with a small ridge, among formulas that are convex in bonds
    and angles (`molflow.valence.convex`): what is beyond the frames rises.

    Parameters
    ----------
    numbers : sequence of int
        Atomic numbers.
    bonds : sequence of (int, int)
    positions : array, (frames, atoms, 3)
        nm, of dynamics, hot frames among them if the formula is to be right there.
    forces : array, (frames, atoms, 3)
        kJ/mol/nm.

    Raises
    ------
    MolflowError
        If shapes differ, numbers are not finite, frames are too few or alike, or the molecule has
        no bonds.
    """
    x, f = _checked(numbers, positions, forces)
    terms = valence_terms(numbers, bonds, positions)
    design = Design(terms, measured(terms, x))
    if x.numel() < 2 * design.size:
        raise MolflowError(
            f"{len(x)} frames have {x.numel()} components of forces, and the valence formula has "
            f"{design.size} coefficients: give at least {-(-2 * design.size // x[0].numel())} "
            "frames, better some hundreds."
        )
    gram, right = normal_equations(design, x, f)
    found = convex_coefficients(gram + ridge(gram), right, design)
    whole = f.square().sum()
    rest = whole - 2.0 * right @ found + found @ gram @ found
    return ValenceFit(
        formula=formula_of(found, design),
        coefficients=design.size,
        force=float((whole / f.numel()).sqrt()),
        rest=float((rest.clamp(min=0.0) / f.numel()).sqrt()),
        curvature=least_curvature(found, design),
    )


def normal_equations(design: Design, positions: Tensor, forces: Tensor) -> tuple[Tensor, Tensor]:
    """Return AᵀA (size, size) and Aᵀf (size,) of the design matrix A of frames and their forces.

    Parameters
    ----------
    design : Design
    positions, forces : Tensor, (frames, atoms, 3) float64
        nm and kJ/mol/nm.
    """
    gram = torch.zeros(design.size, design.size, dtype=torch.float64)
    right = torch.zeros(design.size, dtype=torch.float64)
    for rows, matrix in design.matrices(positions):
        matrix = matrix.flatten(0, 1)
        gram += matrix.mT @ matrix
        right += matrix.mT @ forces[rows].flatten()
    return gram, right


def ridge(gram: Tensor) -> Tensor:
    """Return what is added to a normal matrix, so that what forces leave open stays small."""
    size = gram.diagonal()
    # What moves no atom, as a series of a torsion that is at rest, gets nothing.
    return torch.diag(RIDGE * size.clamp(min=1e-9 * float(size.max())))


def _checked(numbers, positions, forces) -> tuple[Tensor, Tensor]:
    positions, forces = (np.asarray(array, np.float64) for array in (positions, forces))
    if positions.shape != forces.shape or positions.shape[1:] != (len(numbers), 3):
        raise MolflowError(
            f"positions have the shape {positions.shape}, forces {forces.shape}, and there are "
            f"{len(numbers)} atoms: give (frames, {len(numbers)}, 3) of both."
        )
    bad = ~(np.isfinite(positions) & np.isfinite(forces)).all(axis=(1, 2))
    if bad.any():
        raise MolflowError(
            f"{int(bad.sum())} of {len(bad)} frames have positions or forces that are not finite: "
            "leave them out."
        )
    return torch.from_numpy(positions), torch.from_numpy(forces)


def formula_of(found: Tensor, design: Design) -> ValenceFormula:
    """Return the formula in nm and radians of coefficients in units of widths."""
    terms, measures = design.terms, design.measures
    powers = torch.arange(1, design.diagonal.shape[1] + 1)
    diagonal = found[design.diagonal][design.of["diagonal"]] / measures.width[:, None] ** powers
    rows = torch.cat([measures.middle[:, None], diagonal], dim=1).tolist()
    bent = found[design.straight][design.of["straight"]]
    bent = bent / measures.bent[:, None] ** powers[: bent.shape[1]]
    pairs = found[design.pairs][design.of["pairs"]]
    a, b = torch.tensor(terms.pairs).long().reshape(-1, 2).T
    couplings = (pairs / (measures.width[a] * measures.width[b])).tolist()
    series = found[design.torsions][design.of["torsions"]].tolist()
    count = len(terms.bonds)

    def joined(atoms, values):
        return tuple((*row, *numbers) for row, numbers in zip(atoms, values, strict=True))

    return ValenceFormula(
        bonds=joined(terms.bonds, rows[:count]),
        angles=joined(terms.angles, rows[count:]),
        straight=joined(terms.straight, bent.tolist()),
        torsions=joined(terms.torsions, series),
        couplings=tuple((*pair, k) for pair, k in zip(terms.pairs, couplings, strict=True)),
    )
