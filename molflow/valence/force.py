"""Energy and forces of a valence formula for many conformations at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molflow.errors import MolflowError
from molflow.valence.coordinates import angle, bend, bond, torsion
from molflow.valence.formula import ValenceFormula


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
            "series": torsions[1],
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
        return self.energy_and_forces(positions)[1]

    def energy(self, positions: Tensor) -> Tensor:
        """Return the energies (batch,) in kJ/mol."""
        return self.energy_and_forces(positions)[0]

    def energy_and_forces(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies (batch,) in kJ/mol and forces (batch, atoms, 3) in kJ/mol/nm."""
        at = positions.index_select(1, self.sites).transpose(1, 2)
        bonds, angles, straight, torsions = at.split(self.sizes, dim=-1)
        length, by_bond = bond(bonds)
        theta, by_angle = angle(angles)
        energy, slope = self._polynomials(torch.cat([length, theta], dim=-1).squeeze(1))
        on_bond, on_angle = slope[:, None].split(self.counts[:2], dim=-1)
        pulls = [on_bond.repeat(1, 1, 2) * by_bond, on_angle.repeat(1, 1, 3) * by_angle]
        u, by_bend = bend(straight)
        first, second = self.bends.to(u)
        energy = energy + (u * (first + second * u)).sum((1, 2))
        pulls.append((first + 2.0 * second * u).repeat(1, 1, 3) * by_bend)
        cosine, sine, by_torsion = torsion(torsions)
        c_m, s_m, turn = cosine, sine, torch.zeros_like(sine)
        for m, p in enumerate(self.series.to(cosine), start=1):
            energy = energy + (p * c_m).sum((1, 2))
            turn = turn - m * p * s_m
            c_m, s_m = c_m * cosine - s_m * sine, s_m * cosine + c_m * sine
        pulls.append(turn.repeat(1, 1, 4) * by_torsion)
        gradient = torch.cat(pulls, dim=-1) @ self.spread.to(at).mT
        return energy, -gradient.transpose(1, 2)

    def _polynomials(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies (batch,) of bonds and angles, couplings too, and slopes (batch, n)."""
        d = values - self.middle.to(values)
        a1, a2, a3, a4 = self.powers.to(values)
        coupled = d @ self.coupling.to(values)
        energy = d * (a1 + d * (a2 + d * (a3 + d * a4)) + 0.5 * coupled)
        slope = a1 + d * (2.0 * a2 + d * (3.0 * a3 + d * (4.0 * a4))) + coupled
        return energy.sum(1), slope


def _columns(rows: tuple[tuple, ...], atoms: int, values: int) -> tuple[Tensor, Tensor]:
    """Return atoms (atoms, terms) and parameters (values, terms)."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, atoms + values).mT
    return table[:atoms].long(), table[atoms:].contiguous()
