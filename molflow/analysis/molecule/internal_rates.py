"""How bonds, angles and torsions change in time, and with what inertia."""

from __future__ import annotations

import numpy as np

from molflow.analysis.molecule.geometry import Term


def gradient(positions: np.ndarray, term: Term) -> np.ndarray:
    """Return the derivatives of one term with respect to its atoms.

    The rows of Wilson's B matrix, those of torsions in the form of Blondel and Karplus, J. Comput.
    Chem. 17, 1132 (1996).

    Parameters
    ----------
    positions : ndarray, (n, n_atoms, 3)
        nm.
    term : Term

    Returns
    -------
    ndarray, (n, len(term.atoms), 3)
        Of a bond without unit, of others rad/nm.
    """
    points = [positions[:, i].astype(np.float64) for i in term.atoms]
    if term.kind == "bond":
        along = _unit(points[1] - points[0])
        rows = [-along, along]
    elif term.kind == "angle":
        rows = _angle(*points)
    else:
        rows = _torsion(*points)
    return np.stack(rows, axis=1)


def rates(
    positions: np.ndarray, velocities: np.ndarray, masses: np.ndarray, terms: list[Term]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the time derivative of every term and its inverse inertia.

    Parameters
    ----------
    positions, velocities : ndarray, (n, n_atoms, 3)
        nm and nm/ps.
    masses : ndarray, (n_atoms,)
        amu.
    terms : list of Term

    Returns
    -------
    rate : ndarray, (n, len(terms))
        q̇ = B v: nm/ps, or rad/ps.
    inverse_inertia : ndarray, (n, len(terms))
        The diagonal of B M⁻¹ Bᵀ: 1/amu, or rad²/(amu nm²).
    """
    rate, inverse = np.empty((2, len(positions), len(terms)))
    for column, term in enumerate(terms):
        row, atoms = gradient(positions, term), list(term.atoms)
        rate[:, column] = np.einsum("nad,nad->n", row, velocities[:, atoms])
        inverse[:, column] = np.einsum("nad,nad,a->n", row, row, 1.0 / masses[atoms])
    return rate, inverse


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=1, keepdims=True)


def _angle(a: np.ndarray, centre: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    lengths = [np.linalg.norm(end - centre, axis=1, keepdims=True) for end in (a, b)]
    u, w = (a - centre) / lengths[0], (b - centre) / lengths[1]
    cosine = np.sum(u * w, axis=1, keepdims=True)
    sine = np.linalg.norm(np.cross(u, w), axis=1, keepdims=True)
    first = (cosine * u - w) / (lengths[0] * sine)
    last = (cosine * w - u) / (lengths[1] * sine)
    return [first, -first - last, last]


def _torsion(i: np.ndarray, j: np.ndarray, k: np.ndarray, last: np.ndarray) -> list[np.ndarray]:
    f, g, h = i - j, j - k, last - k
    a, b = np.cross(f, g), np.cross(h, g)
    length = np.linalg.norm(g, axis=1, keepdims=True)
    a = a / np.sum(a * a, axis=1, keepdims=True)
    b = b / np.sum(b * b, axis=1, keepdims=True)
    over = [np.sum(v * g, axis=1, keepdims=True) / length for v in (f, h)]
    turn = over[0] * a - over[1] * b
    return [-length * a, length * a + turn, -turn - length * b, length * b]
