"""What a force field says of bonds, angles and torsions, as plain numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

from molflow.errors import MolflowError


@dataclass(frozen=True)
class BondedTerms:
    """Bonds k (r − r₀)²/2, angles k (θ − θ₀)²/2 and torsions k (1 + cos(nφ − φ₀)).

    Attributes
    ----------
    bonds : tuple of (i, j, r₀, k)
        nm and kJ/mol/nm².
    angles : tuple of (i, j, k, θ₀, k)
        Radians and kJ/mol/rad².
    torsions : tuple of (i, j, k, l, n, φ₀, k)
        Radians and kJ/mol.
    """

    bonds: tuple[tuple, ...] = ()
    angles: tuple[tuple, ...] = ()
    torsions: tuple[tuple, ...] = ()

    def __post_init__(self) -> None:
        for field, size in zip(fields(self), (4, 5, 7), strict=True):
            rows = tuple(tuple(row) for row in getattr(self, field.name))
            object.__setattr__(self, field.name, rows)
            if not all(len(row) == size and all(map(math.isfinite, row)) for row in rows):
                raise MolflowError(
                    f"a row of {field.name} has not {size} finite numbers: see BondedTerms."
                )

    def __bool__(self) -> bool:
        return bool(self.bonds or self.angles or self.torsions)

    def to_dict(self) -> dict:
        """Return a JSON-ready description."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> BondedTerms:
        """Invert `to_dict`; raise KeyError where something is missing."""
        return cls(**{field.name: data[field.name] for field in fields(cls)})
