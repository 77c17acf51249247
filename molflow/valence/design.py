"""The forces of a valence formula as a linear function of its coefficients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.errors import MolflowError
from molflow.valence.coordinates import angle, bend, bond, torsion
from molflow.valence.formula import BENT, DIAGONAL, FOLDS
from molflow.valence.terms import ValenceTerms

#: nm or radians; thermal widths are a hundred times as large.
_STILL = 1e-5
#: Numbers in a batch of design matrices.
_BATCH = 5_000_000


@dataclass(frozen=True)
class Measures:
    """Means and spreads that make bonds and angles numbers of order one.

    Attributes
    ----------
    middle, width : Tensor, (bonds + angles,) float64
        z = (q − middle)/width; the same for terms that are alike.
    bent : Tensor, (straight,) float64
        Root mean square of 1 + cos θ.
    """

    middle: Tensor
    width: Tensor
    bent: Tensor


def measured(terms: ValenceTerms, positions: Tensor) -> Measures:
    """Return means and spreads over frames (frames, atoms, 3) and over terms that are alike.

    Raises
    ------
    MolflowError
        If a bond or an angle is the same in all frames.
    """
    lengths, bent_out = [], []
    for part in positions.split(1000):
        at = _sites(part, terms)
        lengths.append(torch.cat([bond(at[0])[0], angle(at[1])[0]], dim=-1).squeeze(1))
        bent_out.append(bend(at[2])[0].squeeze(1))
    values, bends = torch.cat(lengths), torch.cat(bent_out)
    classes = diagonal_classes(terms)
    middle = by_class(values.mean(0), classes)
    width = by_class((values - middle).square().mean(0), classes).sqrt()
    if bool((width < _STILL).any()):
        which = [*terms.bonds, *terms.angles][int(width.argmin())]
        raise MolflowError(
            f"the {'bond' if len(which) == 2 else 'angle'} of the atoms {which} is the same in all "
            f"{len(positions)} frames, and its stiffness cannot be told: give frames of dynamics."
        )
    bent = by_class(bends.square().mean(0), torch.tensor(terms.alike["straight"]).long()).sqrt()
    return Measures(middle, width, bent.clamp(min=1e-6))


def diagonal_classes(terms: ValenceTerms) -> Tensor:
    """Return the classes of bonds and then angles, numbered through."""
    bonds, angles = (torch.tensor(terms.alike[kind]).long() for kind in ("bonds", "angles"))
    return torch.cat([bonds, angles + (int(bonds.max()) + 1)])


def by_class(values: Tensor, classes: Tensor) -> Tensor:
    """Return the mean over its class in place of every value."""
    if not len(values):
        return values
    count = torch.bincount(classes)
    total = torch.zeros(len(count), dtype=values.dtype).index_add(0, classes, values)
    return (total / count)[classes]


class Design:
    """Where each coefficient is among the columns of the design matrix.

    Attributes
    ----------
    diagonal : Tensor, (classes, 4) of int
        Columns of the coefficients of z, z², z³ and z⁴ by class of bonds and angles.
    straight : Tensor, (classes, 2) of int
    torsions : Tensor, (classes, 4) of int
    pairs : Tensor, (classes,) of int
    size : int
        All coefficients, kJ/mol each.
    """

    def __init__(self, terms: ValenceTerms, measures: Measures):
        self.terms, self.measures = terms, measures
        self.of = {
            "diagonal": diagonal_classes(terms),
            **{
                kind: torch.tensor(terms.alike[kind]).long()
                for kind in ("straight", "torsions", "pairs")
            },
        }
        self.size = 0
        self.diagonal = self._columns("diagonal", DIAGONAL)
        self.straight = self._columns("straight", BENT)
        self.torsions = self._columns("torsions", FOLDS)
        self.pairs = self._columns("pairs", 1)[:, 0]

    def _columns(self, kind: str, orders: int) -> Tensor:
        classes = int(self.of[kind].max()) + 1 if len(self.of[kind]) else 0
        first = self.size
        self.size += classes * orders
        return torch.arange(first, self.size).reshape(classes, orders)

    def matrices(self, positions: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield batches of frames with their matrices (frames, 3 atoms, size).

        Parameters
        ----------
        positions : Tensor, (frames, atoms, 3) float64
        """
        entries = 3 * positions.shape[1] * (self.size + 4 * len(self.terms.pairs))
        step = max(1, _BATCH // entries)
        for start in range(0, len(positions), step):
            rows = slice(start, start + step)
            yield rows, self._matrix(positions[rows])

    def _matrix(self, x: Tensor) -> Tensor:
        terms, (count, atoms, _) = self.terms, x.shape
        at = _sites(x, terms)
        length, by_bond = bond(at[0])
        theta, by_angle = angle(at[1])
        u, by_bend = bend(at[2])
        cosine, sine, by_torsion = torsion(at[3])
        z = torch.cat([length, theta], dim=-1).squeeze(1)
        z = (z - self.measures.middle) / self.measures.width
        slopes = torch.cat(
            [_dense(by_bond, terms.bonds, atoms), _dense(by_angle, terms.angles, atoms)], dim=-1
        )
        slopes = slopes / self.measures.width
        matrix = x.new_zeros(count, 3 * atoms, self.size)

        def add(columns: Tensor, values: Tensor) -> None:
            matrix.index_add_(2, columns, values, alpha=-1.0)

        for order in range(DIAGONAL):
            power = (order + 1) * z[:, None] ** order
            add(self.diagonal[self.of["diagonal"], order], power * slopes)
        if len(terms.pairs):
            a, b = torch.tensor(terms.pairs).T
            found = z[:, None, a] * slopes[..., b] + z[:, None, b] * slopes[..., a]
            add(self.pairs[self.of["pairs"]], found)
        if len(terms.straight):
            slopes = _dense(by_bend, terms.straight, atoms) / self.measures.bent
            for order in range(BENT):
                power = (order + 1) * (u / self.measures.bent) ** order
                add(self.straight[self.of["straight"], order], power * slopes)
        if len(terms.torsions):
            slopes = _dense(by_torsion, terms.torsions, atoms)
            c_m, s_m = cosine, sine
            for fold in range(1, FOLDS + 1):
                add(self.torsions[self.of["torsions"], fold - 1], -fold * s_m * slopes)
                c_m, s_m = c_m * cosine - s_m * sine, s_m * cosine + c_m * sine
        return matrix


def _sites(x: Tensor, terms: ValenceTerms) -> list[Tensor]:
    """Return positions (batch, 3, atoms of terms) by kind of term."""
    rows = (terms.bonds, terms.angles, terms.straight, terms.torsions)
    sizes = 2, 3, 3, 4
    return [
        x.index_select(1, torch.tensor(row).long().reshape(-1, size).T.flatten()).transpose(1, 2)
        for row, size in zip(rows, sizes, strict=True)
    ]


def _dense(by_site: Tensor, rows: tuple[tuple[int, ...], ...], atoms: int) -> Tensor:
    """Return derivatives (batch, 3 atoms, terms) of those on the sites of terms."""
    table = torch.tensor(rows).long()
    size = table.shape[1] if len(rows) else 1
    found = by_site.new_zeros(len(by_site), atoms, 3, len(rows))
    by_site = by_site.unflatten(-1, (size, len(rows)))
    terms = torch.arange(len(rows))
    for place in range(size if len(rows) else 0):
        # Each atom has one place in a term, so that nothing is written twice.
        found[:, table[:, place], :, terms] += by_site[:, :, place].permute(2, 0, 1)
    return found.flatten(1, 2)
