"""What a new system is given besides its molecule: force field, solvent, cutoffs, state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from openmm import app, unit

from molflow.errors import MolflowError
from molflow.md.forcefields import CONSTRAINTS
from molflow.setup.molecule import WATER, Molecule, is_ion

#: Force fields by name: files of OpenMM, the implicit solvent that goes with them, and water.
FORCEFIELDS: dict[str, tuple[list[str], str | None, str]] = {
    "amber14": (["amber14-all.xml"], "implicit/obc2.xml", "amber14/tip3p.xml"),
    "amber19": (["amber19-all.xml"], "implicit/obc2.xml", "amber19/tip3p.xml"),
    "amber99sbildn": (["amber99sbildn.xml"], "amber99_obc.xml", "tip3p.xml"),
    "charmm36": (["charmm36_2024.xml"], None, "charmm36_2024/water.xml"),
}
SOLVENTS = ("implicit", "vacuum", "box")


@dataclass(frozen=True)
class Settings:
    """Entries of ``system.yaml`` apart from names of files."""

    forcefield: str
    solvent: str
    constraints: str
    hydrogen_mass: float | None
    timestep: float
    temperature: float
    friction: float
    pressure: float | None
    cutoff: float | None

    @property
    def entries(self) -> dict:
        """What every kind of system says of its state."""
        state = {
            "temperature": self.temperature, "friction": self.friction, "timestep": self.timestep,
        }  # fmt: skip
        return state if self.pressure is None else {"pressure": self.pressure} | state

    @property
    def forces(self) -> dict:
        """What says how a force field is applied."""
        entries: dict[str, str | float | None] = {"constraints": self.constraints}
        if self.hydrogen_mass is not None:
            entries["hydrogen_mass"] = self.hydrogen_mass
        if self.solvent == "box":
            entries |= {"nonbonded_method": "PME", "nonbonded_cutoff": self.cutoff}
        return entries

    @property
    def options(self) -> dict:
        """The same for `createSystem` of OpenMM's readers, but for implicit solvent."""
        options = {"constraints": CONSTRAINTS[self.constraints]}
        if self.hydrogen_mass is not None:
            options["hydrogenMass"] = self.hydrogen_mass * unit.dalton
        if self.solvent == "box":
            options |= {
                "nonbondedMethod": app.PME, "nonbondedCutoff": self.cutoff * unit.nanometer
            }  # fmt: skip
        return options


def settle_box(molecule: Molecule, solvent: str | None, name: str) -> tuple[Molecule, str]:
    """Return the molecule and ``implicit``, ``vacuum`` or ``box``, by what was asked and is there.

    Raises
    ------
    MolflowError
        If a box and what is in it do not say which is meant, or the choice does not fit.
    """
    if solvent not in (None, *SOLVENTS):
        raise MolflowError(f"solvent is '{solvent}': choose one of {', '.join(SOLVENTS)}.")
    residues = list(molecule.topology.residues())
    water = sum(residue.name in WATER for residue in residues)
    loose = water + sum(map(is_ion, residues))
    box = molecule.box
    if solvent == "box":
        if box is None:
            raise MolflowError(
                f"solvent is 'box', and {name} brings none: give a structure with a CRYST1 line, "
                "or choose implicit or vacuum."
            )
        return molecule, "box"
    if water and box is None:
        raise MolflowError(
            f"{name} has {_molecules(water)} of water and no box, so that water would evaporate: "
            "add the box (a CRYST1 line), or take the water out; water alone is --smiles O."
        )
    if box is not None and solvent is None:
        if loose:
            inside = f"{_molecules(water)} of water"
            note = f"The box of {box[0][0]:.3g} nm with {inside} is kept, by PME."
            return molecule.noted(note), "box"
        raise MolflowError(
            f"{name} has a box of {box[0][0]:.3g} nm and no water in it: give --solvent box if it "
            "is meant to be periodic, --solvent implicit or vacuum for the molecule alone."
        )
    if loose and solvent is not None:
        raise MolflowError(
            f"solvent is '{solvent}', and {name} has {_molecules(loose)} of water or ions: take "
            "them out, or choose box."
        )
    if box is not None:
        molecule.topology.setPeriodicBoxVectors(None)
        molecule = replace(molecule, positions=molecule.positions).noted("The box was dropped.")
    return molecule, solvent or "implicit"


def _molecules(count: int) -> str:
    return f"{count} molecule{'' if count == 1 else 's'}"


def forcefield_files(name: str, solvent: str) -> tuple[list[str], list[Path]]:
    """Return names for ``system.yaml`` and files to copy beside it, of a force field.

    Parameters
    ----------
    name : str
        One of `FORCEFIELDS`, or files separated by commas: of one's own by path, or OpenMM's.
    solvent : str
        ``implicit``, ``vacuum`` or ``box``; files that are named have to bring their own.

    Raises
    ------
    MolflowError
        If it is unknown or has no such solvent.
    """
    if name in FORCEFIELDS:
        files, implicit, water = FORCEFIELDS[name]
        if solvent == "implicit" and implicit is None:
            raise MolflowError(
                f"forcefield is '{name}', which has no implicit solvent here: choose --solvent "
                "vacuum or box, or another force field."
            )
        more = {"implicit": implicit, "vacuum": None, "box": water}[solvent]
        return files + ([] if more is None else [more]), []
    words = [word.strip() for word in name.split(",") if word.strip()]
    own = [Path(word) for word in words if Path(word).is_file()]
    data = Path(app.__file__).with_name("data")
    unknown = [w for w in words if not Path(w).is_file() and not (data / w).is_file()]
    if unknown or not words:
        raise MolflowError(
            f"forcefield is '{name}': choose one of {', '.join(FORCEFIELDS)}, or give OpenMM "
            "force-field files (.xml) separated by commas."
        )
    names = [Path(word).name if Path(word).is_file() else word for word in words]
    if len(set(names)) < len(names):
        raise MolflowError(f"forcefield is '{name}', which names two files alike: rename one.")
    return names, own
