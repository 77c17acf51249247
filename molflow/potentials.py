"""Potentials that a system may have in place of a force field: what they take, and their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from molflow.errors import MolflowError
from molflow.registry import Registry


class PotentialSettings(BaseModel):
    """The ``potential`` of a system.yaml.

    Attributes
    ----------
    name : str
        One of `POTENTIALS`.
    charge, multiplicity : int
        Of the whole molecule, in elementary charges; 2S + 1.
    solvent : str, optional
        Of the potential's own continuum model. By default vacuum.
    options : dict
        Further settings that the potential takes, by its own names.
    version : str, optional
        Of the package behind the potential. What is installed has to agree with it; by default
        whatever is installed.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    charge: int = 0
    multiplicity: int = Field(default=1, ge=1)
    solvent: str | None = None
    options: dict[str, bool | int | float | str] = {}
    version: str | None = None

    @property
    def definition(self) -> dict:
        """All that defines the energy, the version that is used included, ready for hashing."""
        return self.model_dump() | {"version": self.version or POTENTIALS[self.name].version()}


@dataclass(frozen=True)
class Potential:
    """How a potential comes to be an OpenMM system.

    Attributes
    ----------
    package : str
        The installed package whose version tells one potential of this name from another.
    create : callable
        Takes an `openmm.app.Topology` and `PotentialSettings`, returns an `openmm.System` with
        masses and forces. May raise ImportError where a package is absent.
    takes : frozenset of str
        Which of ``charge``, ``multiplicity`` and ``solvent`` it knows, and names of its options.
    """

    package: str
    create: Callable[[Any, PotentialSettings], Any]
    takes: frozenset[str] = frozenset()

    def version(self) -> str | None:
        """Return the version of the installed package, or None if it is absent."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None

    def check(self, settings: PotentialSettings) -> None:
        """Make sure that the settings are known here and the version is that which is asked for.

        Raises
        ------
        MolflowError
            If a setting is not, or another version is installed.
        """
        known = ", ".join(sorted(self.takes)) or "nothing"
        plain = PotentialSettings(name=settings.name)
        given = [
            field
            for field in ("charge", "multiplicity", "solvent")
            if getattr(settings, field) != getattr(plain, field)
        ]
        for name in (*given, *settings.options):
            if name not in self.takes:
                raise MolflowError(
                    f"the potential '{settings.name}' takes no {name}: it takes {known}."
                )
        found = self.version()
        if None not in (settings.version, found) and settings.version != found:
            raise MolflowError(
                f"the system asks for '{settings.name}' of {self.package} {settings.version}, and "
                f"{found} is installed: install {self.package}=={settings.version}, or change "
                "version in its system.yaml, which makes it another ensemble."
            )


_XTB = "molflow.md.potentials.xtb:"
_OPENMM_ML = "molflow.md.potentials.openmm_ml:"
#: Potentials by name. A package offers its own by an entry point of the group, a `Potential`;
#: `molflow.md.potentials.calculator.by_calculator` makes one of any ASE calculator.
POTENTIALS: Registry[Potential] = Registry(
    "potential",
    "molflow.potentials",
    {
        "gfn2-xtb": _XTB + "GFN2",
        "gfn1-xtb": _XTB + "GFN1",
        "aimnet2": _OPENMM_ML + "AIMNET2",
        "ani2x": _OPENMM_ML + "ANI2X",
        "mace-off23-small": _OPENMM_ML + "MACE",
        "mace-off23-medium": _OPENMM_ML + "MACE",
        "mace-off23-large": _OPENMM_ML + "MACE",
    },
)
