"""Force fields of a system folder: which files, with what contents, and the System they make."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import openmm
from openmm import app, unit

from molflow.errors import MolflowError
from molflow.files import sha256_of
from molflow.system_files import parsed_xml, refuse_pickles, refuse_scripts, with_includes
from molflow.systems import MolecularSystem

_METHODS = {
    "NoCutoff": app.NoCutoff, "CutoffNonPeriodic": app.CutoffNonPeriodic,
    "CutoffPeriodic": app.CutoffPeriodic, "PME": app.PME,
}  # fmt: skip
CONSTRAINTS = {
    "none": None, "HBonds": app.HBonds, "AllBonds": app.AllBonds, "HAngles": app.HAngles,
}  # fmt: skip
#: nm, where a method has a cutoff and none is given.
CUTOFF = 1.0


def forcefield_files(system: MolecularSystem) -> list[Path]:
    """Return the paths of the force-field files: those of the folder, or else OpenMM's own.

    Raises
    ------
    MolflowError
        If a file is in neither place, or holds code that the user has not allowed.
    """
    found: list[Path] = []
    for name in system.forcefield:
        path: Path | None = system.folder / name
        if system.beside(name):
            refuse_scripts(system.folder / name)
        else:
            path = _openmm_file(name)
        if path is None:
            raise MolflowError(
                f"the force-field file '{name}' of '{system.name}' is neither in "
                f"'{system.folder}' nor one of OpenMM's: put it beside system.yaml."
            )
        found.append(path)
    return found


def _openmm_file(name: str) -> Path | None:
    places = (Path(folder) / name for folder in app.forcefield._getDataDirectories())
    return next((path for path in places if path.is_file()), None)


def forcefield_digest(system: MolecularSystem) -> str:
    """Return the SHA-256 over the contents of all files, in order, with those they include."""
    return _digest(tuple(forcefield_files(system)))


@lru_cache(maxsize=32)
def _digest(paths: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        for file in with_includes(path):
            digest.update(sha256_of(file).encode())
    return digest.hexdigest()


def apply_forcefield(system: MolecularSystem, topology: app.Topology) -> openmm.System:
    """Return the System of a topology under the force field of the system.

    Raises
    ------
    MolflowError
        If a file is missing, another than it was, or the force field does not cover the structure.
    """
    files = forcefield_files(system)
    if system.forcefield_sha256 not in (None, forcefield_digest(system)):
        raise MolflowError(
            f"the force-field files {', '.join(system.forcefield)} are not those that "
            f"'{system.name}' was made with (OpenMM here is {openmm.__version__}): bring them "
            "back, or make the system again, which makes it another ensemble."
        )
    options = {}
    if system.nonbonded_method != "NoCutoff":
        options["nonbondedCutoff"] = (system.nonbonded_cutoff or CUTOFF) * unit.nanometer
    if system.hydrogen_mass is not None:
        options["hydrogenMass"] = system.hydrogen_mass * unit.dalton
    try:
        return app.ForceField(*map(str, files)).createSystem(
            topology,
            nonbondedMethod=_METHODS[system.nonbonded_method],
            constraints=CONSTRAINTS[system.constraints],
            **options,
        )
    except Exception as error:  # OpenMM raises bare Exception and ValueError here
        reason = str(error).partition("  You may")[0].partition("  For more")[0]
        raise MolflowError(
            f"the force field {', '.join(system.forcefield)} cannot be applied to "
            f"'{system.structure_path.name}': {' '.join(reason.split())}"
        ) from error


def read_system_xml(path: Path, name: str) -> openmm.System:
    """Return a serialised System of free or constrained atoms.

    Raises
    ------
    MolflowError
        If it cannot be read, runs code, or has particles or forces that molflow does not move.
    """
    refuse_pickles(path)
    try:
        built = openmm.XmlSerializer.deserialize(path.read_text(encoding="utf-8"))
    except Exception as error:  # OpenMM raises bare exceptions of its C++ library
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        advice = "write it with openmm.XmlSerializer.serialize(system)"
        if parsed_xml(path).tag == "ForceField":
            advice = "it is a force field: give it as --forcefield with the structure as FILE"
        raise MolflowError(
            f"'{path}' is not a serialised OpenMM System ({reason}): {advice}."
        ) from error
    if not isinstance(built, openmm.System):
        raise MolflowError(
            f"'{path}' holds a serialised {type(built).__name__}: serialise the System."
        )
    check_particles(built, name)
    return built


#: Forces that change the ensemble or have positions of their own, and what to do instead.
_REFUSED = {
    "Barostat": "take it out, and give pressure (--pressure of molflow init)",
    "AndersenThermostat": "take it out; molflow has a thermostat of its own",
    "DrudeForce": "take a force field without Drude particles, which molflow does not move",
}


def check_particles(built: openmm.System, name: str) -> None:
    """Raise `MolflowError` where a System has what molflow cannot move or describe."""
    for force in built.getForces():
        for word, advice in _REFUSED.items():
            if word in type(force).__name__:
                raise MolflowError(
                    f"the System of '{name}' has the force {type(force).__name__}: {advice}."
                )
    count = built.getNumParticles()
    odd = [k for k in range(count) if built.isVirtualSite(k) or not built.getParticleMass(k)._value]
    if odd:
        raise MolflowError(
            f"the particles {odd[:5]} of '{name}' are virtual sites or have no mass, and molflow "
            "describes atoms: take a force field or a water model without them."
        )
