"""The forces of bonds, angles and torsions: what of a force field is known by formula."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

from molflow.bonded_terms import BondedTerms
from molflow.errors import MolflowError

#: Atoms up to which a product with a matrix adds forces up as fast as going by their places; it
#: grows with the square of their number.
_SMALL = 64
#: Squared sines below it are of straight angles, whose torsions have no direction.
_STRAIGHT = 1e-8


_TINY = {
    dtype: torch.finfo(dtype).tiny ** 0.5
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
}


class _Tables(NamedTuple):
    bond: tuple[Tensor, Tensor]
    angle: tuple[Tensor, Tensor]
    torsion: list[tuple[Tensor, Tensor]]
    spread: Tensor | None


class BondedForce(nn.Module):
    """The force of `BondedTerms`, by closed formulas without branches.

    Parameters
    ----------
    terms : BondedTerms
    n_atoms : int

    Raises
    ------
    MolflowError
        If a term names an atom that is not there.
    """

    sites: Tensor
    spread: Tensor
    bond: Tensor
    angle: Tensor
    torsion: Tensor

    def __init__(self, terms: BondedTerms, n_atoms: int):
        super().__init__()
        bonds, angles = _columns(terms.bonds, 2), _columns(terms.angles, 3)
        torsions = _by_atoms(terms.torsions)
        sites = torch.cat([part.flatten() for part in (bonds[0], angles[0], torsions[0])])
        if len(sites) and not 0 <= int(sites.min()) <= int(sites.max()) < n_atoms:
            raise MolflowError(
                f"the bonded terms name atoms up to {int(sites.max())}, and there are {n_atoms}."
            )
        self.sizes = tuple(part[0].numel() for part in (bonds, angles, torsions))
        self.n_atoms = n_atoms
        known = {"sites": sites, "bond": bonds[1], "angle": angles[1], "torsion": torsions[1]}
        if n_atoms <= _SMALL:
            # Adds the forces on the sites of the terms up to those on atoms.
            known["spread"] = torch.zeros(n_atoms, len(sites), dtype=torch.float64)
            known["spread"][sites, torch.arange(len(sites))] = 1.0
        for name, value in known.items():
            self.register_buffer(name, value, persistent=False)
        self._kept: dict[tuple[torch.dtype, torch.device], _Tables] = {}

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
        tables = self._tables(positions)
        at = positions.index_select(1, self.sites).transpose(1, 2)
        bonds, angles, torsions = at.split(self.sizes, dim=-1)
        forces = torch.cat(
            [
                _bonds(bonds, *tables.bond),
                _angles(angles, *tables.angle),
                _torsions(torsions, tables.torsion),
            ],
            dim=-1,
        )
        if tables.spread is not None:
            return (forces @ tables.spread).transpose(1, 2)
        on_atoms = scatter(forces, self.sites, dim=-1, dim_size=self.n_atoms, reduce="sum")
        return on_atoms.transpose(1, 2)

    def _tables(self, x: Tensor) -> _Tables:
        """Return parameters like x: a force is asked for a hundred times in a step."""
        key = x.dtype, x.device
        if key in self._kept:
            return self._kept[key]
        (length, pull), (middle, turn) = self.bond.to(x), self.angle.to(x)
        series = [(cosine, sine) for cosine, sine in self.torsion.to(x)]
        spread = self.spread.to(x).mT if self.n_atoms <= _SMALL else None
        found = _Tables((length, pull), (middle, turn), series, spread)
        # Tables that were made in these modes are of no use outside.
        if not (torch.compiler.is_compiling() or torch.is_inference_mode_enabled()):
            self._kept[key] = found
        return found


# Coordinates run over the second axis and terms over the last, which is the longest.


def _bonds(at: Tensor, length: Tensor, stiffness: Tensor) -> Tensor:
    i, j = at.chunk(2, dim=-1)
    d = j - i
    r = _norm(d)
    pull = stiffness * (1.0 - length / r) * d
    return torch.cat([pull, -pull], dim=-1)


def _angles(at: Tensor, middle: Tensor, stiffness: Tensor) -> Tensor:
    i, j, k = at.chunk(3, dim=-1)
    a, b = i - j, k - j
    normal = torch.linalg.cross(a, b, dim=1)
    sine = _norm(normal)
    theta = torch.atan2(sine, (a * b).sum(1, keepdim=True))
    # dθ/di = a × (a × b)/(|a|² |a × b|), and likewise for k.
    turn = stiffness * (theta - middle) / sine
    on_i = turn * torch.linalg.cross(normal, a, dim=1) / _square(a)
    on_k = turn * torch.linalg.cross(b, normal, dim=1) / _square(b)
    return torch.cat([on_i, -on_i - on_k, on_k], dim=-1)


def _torsions(at: Tensor, series: list[tuple[Tensor, Tensor]]) -> Tensor:
    i, j, k, l = at.chunk(4, dim=-1)  # noqa: E741
    a, b, c = j - i, k - j, l - k
    m, n = torch.linalg.cross(a, b, dim=1), torch.linalg.cross(b, c, dim=1)
    m2, n2, b2 = _square(m), _square(n), _square(b)
    # At a straight angle the torsion has no value and its force none either.
    sound = (m2 > _STRAIGHT * _square(a) * b2) & (n2 > _STRAIGHT * _square(c) * b2)
    m2, n2 = torch.where(sound, m2, 1.0), torch.where(sound, n2, 1.0)
    scale = torch.rsqrt(m2 * n2)
    cosine = (m * n).sum(1, keepdim=True) * scale
    sine = b2.sqrt() * (a * n).sum(1, keepdim=True) * scale
    slope, c_n, s_n = torch.zeros_like(sine), cosine, sine
    for n_fold, (p, q) in enumerate(series, start=1):
        slope = slope + n_fold * (q * c_n - p * s_n)
        c_n, s_n = c_n * cosine - s_n * sine, s_n * cosine + c_n * sine
    slope = torch.where(sound, slope, 0.0)
    # dφ/di = −|b| m/m², dφ/dl = |b| n/n²; the rest follows from force and torque being none.
    length = b2.sqrt()
    on_i, on_l = slope * length / m2 * m, -slope * length / n2 * n
    near, far = (a * b).sum(1, keepdim=True) / b2, (c * b).sum(1, keepdim=True) / b2
    on_j = -(1.0 + near) * on_i + far * on_l
    return torch.cat([on_i, on_j, -on_i - on_j - on_l, on_l], dim=-1)


def _square(vectors: Tensor) -> Tensor:
    # Never zero: coincident atoms have no direction, and no force here.
    return vectors.square().sum(1, keepdim=True).clamp(min=_TINY[vectors.dtype])


def _norm(vectors: Tensor) -> Tensor:
    return _square(vectors).sqrt()


def _columns(rows: tuple[tuple, ...], atoms: int) -> tuple[Tensor, Tensor]:
    """Return atoms (atoms, terms) and parameters (2, terms)."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, atoms + 2).mT
    return table[:atoms].long(), table[atoms:].contiguous()


def _by_atoms(rows: tuple[tuple, ...]) -> tuple[Tensor, Tensor]:
    """Return atoms (4, torsions) and amplitudes (n, 2, torsions).

    Terms on the same four atoms are one Fourier series Σ_n [p_n cos nφ + q_n sin nφ] with
    p_n = k cos φ₀ and q_n = k sin φ₀.
    """
    groups: dict[tuple, list[tuple[int, float, float]]] = {}
    for *atoms, n, phase, k in rows:
        groups.setdefault(tuple(atoms), []).append((int(n), phase, k))
    most = max((n for terms in groups.values() for n, _, _ in terms), default=1)
    series = torch.zeros(most, 2, len(groups), dtype=torch.float64)
    for column, terms in enumerate(groups.values()):
        for n, phase, k in terms:
            series[n - 1, 0, column] += k * math.cos(phase)
            series[n - 1, 1, column] += k * math.sin(phase)
    return torch.tensor(list(groups), dtype=torch.long).reshape(-1, 4).mT, series
