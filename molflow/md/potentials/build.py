"""From a system with a potential to OpenMM's objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openmm
from openmm import app

from molflow.errors import MolflowError
from molflow.potentials import POTENTIALS, Potential, PotentialSettings

if TYPE_CHECKING:
    from molflow.systems import MolecularSystem


def build_with_potential(system: MolecularSystem, topology: app.Topology) -> openmm.System:
    """Return the OpenMM system of a molecule under its potential.

    Raises
    ------
    MolflowError
        If the potential is unknown, its package or weights are absent, or it does not fit the
        molecule.
    """
    settings = system.potential
    assert settings is not None, "the system has a potential"
    potential = POTENTIALS[settings.name]
    potential.check(settings)
    for field, allowed in (("constraints", "none"), ("nonbonded_method", "NoCutoff")):
        if (value := getattr(system, field)) != allowed:
            raise MolflowError(
                f"{field} of the system '{system.name}' is '{value}', and a potential knows no "
                f"such thing: leave it away or set it to {allowed}."
            )
    _check_electrons(system.name, topology, settings)
    try:
        return potential.create(topology, settings)
    except MolflowError:
        raise
    except ImportError as error:
        raise MolflowError(_absent(settings.name, potential, error)) from error
    except Exception as error:  # whatever packages raise where weights or elements are missing
        reason = str(error).strip().partition("\n")[0]
        raise MolflowError(
            f"the potential '{settings.name}' cannot be built for '{system.name}' "
            f"({type(error).__name__}: {reason}): see that {potential.package} is whole, has its "
            "weights at hand and knows all elements of the molecule."
        ) from error


def _absent(name: str, potential: Potential, error: ImportError) -> str:
    if potential.version() is None:
        extra = "pip install molflow[xtb]" if potential.package == "tblite" else (
            f"pip install openmmml {potential.package}"
        )
        return (
            f"the potential '{name}' needs the package {potential.package}, which is not "
            f"installed: {extra}."
        )
    missing = getattr(error, "name", None) or str(error)
    return f"the potential '{name}' needs the package {missing}: pip install openmmml ase."


def _check_electrons(name: str, topology: app.Topology, settings: PotentialSettings) -> None:
    elements = [atom.element for atom in topology.atoms()]
    if None in elements:
        raise MolflowError(
            f"atom {elements.index(None)} of the structure of '{name}' has no element, which a "
            "potential needs: write the elements into the structure file."
        )
    electrons = sum(element.atomic_number for element in elements) - settings.charge
    unpaired = settings.multiplicity - 1
    if electrons < unpaired or (electrons - unpaired) % 2:
        raise MolflowError(
            f"'{name}' has {electrons} electrons with the charge {settings.charge}, of which "
            f"{unpaired} cannot be unpaired, as the multiplicity {settings.multiplicity} says: "
            "give the charge of the whole molecule, and an odd multiplicity for an even number "
            "of electrons."
        )
