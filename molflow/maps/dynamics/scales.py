"""What a map of Langevin dynamics knows of its molecule besides its weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor

from molflow.bonded_terms import BondedTerms
from molflow.devices import upload
from molflow.errors import MolflowError
from molflow.sde.base import time_tensor
from molflow.units import thermal_energy
from molflow.valence.formula import ValenceFormula


@dataclass(frozen=True)
class LangevinScales:
    """Masses, sizes of forces, and the state that inputs and outputs are scaled by.

    Attributes
    ----------
    masses : tuple of float
        amu, one for each atom.
    forces : tuple of float
        Root mean square of the components of the force on each atom in the data, kJ/mol/nm;
        less the bonded forces where the map knows them.
    length : float
        Unit of the positions that the network sees, nm.
    temperature, friction : float
        Of the state of reference, K and 1/ps.
    longest_lag : float
        ps.
    bonded : BondedTerms or ValenceFormula, optional
        Forces that the map knows by formula: those of a force field, or fitted ones.
    """

    masses: tuple[float, ...]
    forces: tuple[float, ...]
    length: float
    temperature: float
    friction: float
    longest_lag: float
    bonded: BondedTerms | ValenceFormula | None = None

    def __post_init__(self) -> None:
        for name in ("masses", "forces"):
            values = tuple(float(value) for value in getattr(self, name))
            object.__setattr__(self, name, values)
            if not all(0.0 < value < math.inf for value in values):
                raise MolflowError(f"{name} are {values}: give positive, finite numbers.")
        if len(self.masses) != len(self.forces):
            raise MolflowError(
                f"there are {len(self.masses)} masses and {len(self.forces)} sizes of forces: "
                "give one of each for every atom."
            )
        for name in ("length", "temperature", "friction", "longest_lag"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise MolflowError(
                    f"{name} is {getattr(self, name)}: give a positive, finite number."
                )

    @property
    def response_times(self) -> tuple[float, ...]:
        """The times in which its force turns the thermal velocity of an atom, sqrt(m kT)/f, ps."""
        energy = thermal_energy(self.temperature)
        pairs = zip(self.masses, self.forces, strict=True)
        return tuple(math.sqrt(mass * energy) / force for mass, force in pairs)

    def to_dict(self) -> dict:
        """Return a JSON-ready description."""
        found = asdict(self)
        if self.bonded is None:
            del found["bonded"]
        return found

    @classmethod
    def from_dict(cls, data: dict) -> LangevinScales:
        """Invert `to_dict`; raise KeyError where something is missing."""
        names = [field.name for field in fields(cls) if field.name != "bonded"]
        bonded = data.get("bonded")
        return cls(
            **{name: data[name] for name in names},
            bonded=None if bonded is None else _formula(bonded),
        )


def _formula(data: dict) -> BondedTerms | ValenceFormula:
    """Invert ``to_dict`` of either; only a fitted formula has couplings."""
    return (ValenceFormula if "couplings" in data else BondedTerms).from_dict(data)


def lengths(s: Tensor | float, t: Tensor | float, x: Tensor, longest: float) -> Tensor:
    """Return t − s for each member of the batch, (batch,) float64 on the device of x.

    Raises
    ------
    MolflowError
        If a step is longer than what was trained; see `check_lag`.
    """
    h = (time_tensor(t) - time_tensor(s)).double()
    check_lag(h, longest)
    return upload(h, x.device).expand(len(x))


def check_lag(h: Tensor, longest: float) -> None:
    """Raise `MolflowError` if a step is longer than what was trained.

    Only on the CPU and outside compiled code: an accelerator would have to be waited for.
    """
    if h.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if bool((h > longest * (1.0 + 1e-6)).any()):
        raise MolflowError(
            f"the lag is {1e3 * float(h.max()):.6g} fs, and the map is trained up to "
            f"{1e3 * longest:.6g} fs: take shorter steps."
        )


def without_drift(vectors: Tensor, roots: Tensor) -> Tensor:
    """Remove what moves all atoms alike from vectors that are multiplied by sqrt(m).

    Parameters
    ----------
    vectors : Tensor, (batch, atoms, 3, ...)
    roots : Tensor, (atoms,)
        sqrt(m).
    """
    unit = (roots / torch.linalg.vector_norm(roots)).to(vectors)
    common = torch.tensordot(unit, vectors, dims=([0], [1]))
    return vectors - unit.reshape(-1, *[1] * (vectors.ndim - 2)) * common.unsqueeze(1)
