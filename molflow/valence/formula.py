"""A valence formula as plain numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

from molflow.errors import MolflowError

#: Orders of the polynomials of bonds and angles, of those of straight angles, of Fourier series.
DIAGONAL, BENT, FOLDS = 4, 2, 4
_SIZES = {
    "bonds": 2 + 1 + DIAGONAL,
    "angles": 3 + 1 + DIAGONAL,
    "straight": 3 + BENT,
    "torsions": 4 + FOLDS,
    "couplings": 3,
}


@dataclass(frozen=True)
class ValenceFormula:
    r"""An energy of bonds, angles and torsions.

    U = Σ_b P(r − r₀) + Σ_a P(θ − θ₀) + Σ_s (a₁ u + a₂ u²) + Σ_t Σ_m p_m cos mφ
    + Σ_c k (q_a − q₀_a)(q_b − q₀_b), with P(δ) = a₁ δ + a₂ δ² + a₃ δ³ + a₄ δ⁴ and u = 1 + cos θ.
    It is the same for the mirrored molecule.

    Attributes
    ----------
    bonds : tuple of (i, j, r₀, a₁, a₂, a₃, a₄)
        nm and kJ/mol/nm^p.
    angles : tuple of (i, j, k, θ₀, a₁, a₂, a₃, a₄)
        Radians and kJ/mol/rad^p.
    straight : tuple of (i, j, k, a₁, a₂)
        kJ/mol.
    torsions : tuple of (i, j, k, l, p₁, p₂, p₃, p₄)
        kJ/mol.
    couplings : tuple of (a, b, k)
        Coordinates numbered through bonds and then angles, in their units.
    """

    bonds: tuple[tuple, ...] = ()
    angles: tuple[tuple, ...] = ()
    straight: tuple[tuple, ...] = ()
    torsions: tuple[tuple, ...] = ()
    couplings: tuple[tuple, ...] = ()

    def __post_init__(self) -> None:
        for name, size in _SIZES.items():
            rows = tuple(tuple(row) for row in getattr(self, name))
            object.__setattr__(self, name, rows)
            if not all(len(row) == size and all(map(math.isfinite, row)) for row in rows):
                raise MolflowError(
                    f"a row of {name} has not {size} finite numbers: see ValenceFormula."
                )
        known = len(self.bonds) + len(self.angles)
        if not all(0 <= a < known and 0 <= b < known and a != b for a, b, _ in self.couplings):
            raise MolflowError(
                f"a coupling names a coordinate twice or beyond the {known} bonds and angles."
            )

    def to_dict(self) -> dict:
        """Return a JSON-ready description."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> ValenceFormula:
        """Invert `to_dict`; raise KeyError where something is missing."""
        return cls(**{field.name: data[field.name] for field in fields(cls)})
