"""Energy and forces of a valence formula for many conformations at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from molflow.errors import MolflowError
from molflow.valence.coordinates import angle, bend, bond, torsion
from molflow.valence.formula import ValenceFormula

#: Atoms of a bond, an angle, a straight angle and a torsion.
_ATOMS = 2, 3, 3, 4


class ValenceForce(nn.Module):
    """The energy and the forces of a `ValenceFormula`, without automatic differentiation.

    Parameters
    ----------
    formula : ValenceFormula
    n_atoms : int

    Raises
    ------
    MolflowError
        If a term names an atom that is not there.
    """

    sites: Tensor
    spread: Tensor
    middle: Tensor
    powers: Tensor
    coupling: Tensor
    bends: Tensor
    series: Tensor

    def __init__(self, formula: ValenceFormula, n_atoms: int):
        super().__init__()
        self.formula = formula
        bonds, angles = _columns(formula.bonds, 2, 5), _columns(formula.angles, 3, 5)
        straight, torsions = _columns(formula.straight, 3, 2), _columns(formula.torsions, 4, 4)
        parts = bonds, angles, straight, torsions
        sites = torch.cat([atoms.flatten() for atoms, _ in parts])
        if len(sites) and not 0 <= int(sites.min()) <= int(sites.max()) < n_atoms:
            raise MolflowError(
                f"the formula names atoms up to {int(sites.max())}, and there are {n_atoms}."
            )
        self.sizes = tuple(atoms.numel() for atoms, _ in parts)
        self.counts = tuple(values.shape[1] for _, values in parts)
        #: Adds the forces on the sites of the terms up to those on atoms.
        spread = torch.zeros(n_atoms, len(sites), dtype=torch.float64)
        spread[sites, torch.arange(len(sites))] = 1.0
        diagonal = torch.cat([bonds[1], angles[1]], dim=1)
        coupling = torch.zeros(diagonal.shape[1], diagonal.shape[1], dtype=torch.float64)
        for a, b, k in formula.couplings:
            coupling[a, b] += k
            coupling[b, a] += k
        known = {
            "sites": sites,
            "spread": spread,
            "middle": diagonal[0],
            "powers": diagonal[1:],
            "coupling": coupling,
            "bends": straight[1],
            "series": _powers(torsions[1]),
        }
        for name, value in known.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """Return the forces on atoms.

        Parameters
        ----------
        positions : Tensor, (batch, atoms, 3)
            nm.

        Returns
        -------
        Tensor, (batch, atoms, 3)
            kJ/mol/nm.
        """
        return self._forces(self._measured(positions))

    def energy(self, positions: Tensor) -> Tensor:
        """Return the energies (batch,) in kJ/mol."""
        return self._energy(self._measured(positions))

    def energy_and_forces(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies (batch,) in kJ/mol and forces (batch, atoms, 3) in kJ/mol/nm."""
        found = self._measured(positions)
        return self._energy(found), self._forces(found)

    def _measured(self, positions: Tensor) -> _Measured:
        at = positions.index_select(1, self.sites).transpose(1, 2)
        bonds, angles, straight, torsions = at.split(self.sizes, dim=-1)
        length, by_bond = bond(bonds)
        theta, by_angle = angle(angles)
        u, by_bend = bend(straight)
        cosine, sine, by_torsion = torsion(torsions)
        shifts = torch.cat([length, theta], dim=-1) - self.middle.to(at)
        slopes = by_bond, by_angle, by_bend, by_torsion
        return _Measured(shifts, shifts @ self.coupling.to(at), u, cosine, sine, slopes)

    def _energy(self, found: _Measured) -> Tensor:
        d, u, c = found.shifts, found.bends, found.cosines
        a1, a2, a3, a4 = self.powers.to(d)
        first, second = self.bends.to(d)
        p0, p1, p2, p3, p4 = self.series.to(d)
        parts = [
            d * (a1 + d * (a2 + d * (a3 + d * a4)) + 0.5 * found.coupled),
            u * (first + second * u),
            p0 + c * (p1 + c * (p2 + c * (p3 + c * p4))),
        ]
        return torch.cat(parts, dim=-1).sum((1, 2))

    def _forces(self, found: _Measured) -> Tensor:
        d, u, c = found.shifts, found.bends, found.cosines
        a1, a2, a3, a4 = self.powers.to(d)
        slope = a1 + d * (2.0 * a2 + d * (3.0 * a3 + d * (4.0 * a4))) + found.coupled
        on_bond, on_angle = slope.split(self.counts[:2], dim=-1)
        first, second = self.bends.to(d)
        _, p1, p2, p3, p4 = self.series.to(d)
        turn = -found.sines * (p1 + c * (2.0 * p2 + c * (3.0 * p3 + c * (4.0 * p4))))
        slopes = on_bond, on_angle, first + 2.0 * second * u, turn
        pulls = [
            (by.unflatten(-1, (size, -1)) * slope[..., None, :]).flatten(-2)
            for slope, by, size in zip(slopes, found.slopes, _ATOMS, strict=True)
        ]
        gradient = torch.cat(pulls, dim=-1) @ self.spread.to(d).mT
        return -gradient.transpose(1, 2)


class _Measured(NamedTuple):
    """Internal coordinates of a batch, (batch, 1, terms), and what comes of them.

    Attributes
    ----------
    shifts, coupled : Tensor
        Bonds and angles less their middles, and their products with the couplings.
    bends, cosines, sines : Tensor
        1 + cos θ of straight angles; of torsions.
    slopes : tuple of Tensor
        Derivatives of lengths, angles, bends and torsions, (batch, 3, atoms of terms).
    """

    shifts: Tensor
    coupled: Tensor
    bends: Tensor
    cosines: Tensor
    sines: Tensor
    slopes: tuple[Tensor, ...]


def _powers(series: Tensor) -> Tensor:
    """Return the coefficients of 1, cos φ, … cos⁴ φ of Σ p_m cos mφ, (5, torsions)."""
    p1, p2, p3, p4 = series
    return torch.stack([p4 - p2, p1 - 3.0 * p3, 2.0 * p2 - 8.0 * p4, 4.0 * p3, 8.0 * p4])


def _columns(rows: tuple[tuple, ...], atoms: int, values: int) -> tuple[Tensor, Tensor]:
    """Return atoms (atoms, terms) and parameters (values, terms)."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, atoms + values).mT
    return table[:atoms].long(), table[atoms:].contiguous()
