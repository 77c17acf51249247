"""Molecular systems: what defines an ensemble, and where the built-in ones live."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from molflow.errors import MolflowError
from molflow.files import sha256_of
from molflow.potentials import PotentialSettings
from molflow.system_files import read_yaml, with_includes
from molflow.units import parse_quantity

#: Entries of earlier versions, which every ensemble's hash has; the others enter where they are
#: set, so that hashes of what they do not change stay the same.
_ALWAYS_HASHED = {
    "name", "structure", "forcefield", "nonbonded_method", "constraints", "temperature",
    "friction", "timestep",
}  # fmt: skip
_NOT_HASHED = {"description", "selections", "potential"}


def _quantity(dimension: str, scale: float = 1.0) -> BeforeValidator:
    def parse(value: Any, info) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return float(value)
        except ValueError:
            return parse_quantity(value, dimension, info.field_name) * scale

    return BeforeValidator(parse)


Kelvin = Annotated[float, _quantity("temperature"), Field(gt=0, le=10_000)]
PerPicosecond = Annotated[float, _quantity("rate"), Field(gt=0, lt=1e6)]
Femtosecond = Annotated[float, _quantity("time", 1e3), Field(gt=0, le=100)]
Nanometre = Annotated[float, _quantity("length"), Field(gt=0, le=10)]
Dalton = Annotated[float, _quantity("mass"), Field(ge=1, le=8)]
Bar = Annotated[float, _quantity("pressure"), Field(ge=0, le=1e6)]


class Selection(BaseModel):
    """Some of the atoms: a coarse-grained molecule, or the solute of a box."""

    model_config = ConfigDict(extra="forbid")
    atoms: list[int] = Field(
        min_length=1,
        description="0-based indices in the structure's order: a list, or text such as '0-21, 30'",
    )
    description: str = ""

    @field_validator("atoms", mode="before")
    @classmethod
    def _ranges(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        atoms: list[int] = []
        for word in value.split(","):
            first, _, last = word.partition("-")
            if not first.strip().isdecimal() or (last and not last.strip().isdecimal()):
                raise ValueError(f"'{word.strip()}' is not a range of atoms such as 0-21")
            if int(last or first) >= 10_000_000:
                raise ValueError(f"'{word.strip()}' names more atoms than there can be")
            atoms += range(int(first), int(last or first) + 1)
        return atoms

    @field_validator("atoms")
    @classmethod
    def _once(cls, value: list[int]) -> list[int]:
        if min(value) < 0 or len(set(value)) < len(value):
            raise ValueError("atoms are counted from 0 and named once")
        return value


class MolecularSystem(BaseModel):
    """A molecule, its energy and the thermodynamic state: what ``system.yaml`` holds.

    The energy is that of a force field, of a serialised OpenMM System or of a potential.

    Quantities are numbers in the unit that is named, or text with a unit such as ``"300 K"``.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)
    name: str = Field(min_length=1, max_length=100, description="as it is written in records")
    description: str = Field("", description="for people; not part of the ensemble's hash")
    structure: str = Field(description="PDB file beside this one: atoms, bonds, a sound start")
    forcefield: list[str] = Field(
        [],
        description="OpenMM force-field files: those beside this file, or else OpenMM's own",
    )
    forcefield_sha256: str | None = Field(
        None, description="of the contents of all those files; refused where they differ"
    )
    system_xml: str | None = Field(
        None, description="a serialised OpenMM System beside this file, in place of a force field"
    )
    potential: PotentialSettings | None = Field(
        None, description="in place of a force field: its name and settings"
    )
    nonbonded_method: Literal[
        "NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "PME"
    ] = Field("NoCutoff", description="the periodic ones need a structure with a box")
    nonbonded_cutoff: Nanometre | None = Field(
        None, description="nm; 1 nm where the method has a cutoff"
    )
    constraints: Literal["none", "HBonds", "AllBonds", "HAngles"] = Field(
        "none", description="bonds of fixed length"
    )
    hydrogen_mass: Dalton | None = Field(
        None, description="amu of every hydrogen, taken from the atom that carries it"
    )
    pressure: Bar | None = Field(
        None, description="bar, of a Monte Carlo barostat; constant volume without"
    )
    temperature: Kelvin = Field(description="K")
    friction: PerPicosecond = Field(description="1/ps, of the Langevin thermostat")
    timestep: Femtosecond = Field(description="fs")
    selections: dict[str, Selection] = Field(
        {}, description="some of the atoms by name; 'solute' is what is learned of a box"
    )
    _folder: Path = PrivateAttr(default=Path("."))
    _variant: str | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _fits_together(self):
        energies = bool(self.forcefield), bool(self.system_xml), self.potential is not None
        if sum(energies) != 1:
            raise ValueError("give it either a forcefield or a potential, or a system_xml")
        if self.system_xml:
            parts = {"nonbonded_method", "nonbonded_cutoff", "constraints", "hydrogen_mass"}
            given = sorted(parts & self.model_fields_set)
            if given:
                raise ValueError(f"{given[0]} is part of system_xml: leave it out")
        if self.nonbonded_cutoff is not None and self.nonbonded_method == "NoCutoff":
            raise ValueError("nonbonded_cutoff is given, but nonbonded_method is NoCutoff")
        if self.pressure is not None and not self.system_xml and not self.periodic:
            raise ValueError(
                "pressure needs a box: set nonbonded_method to PME or CutoffPeriodic"
            )
        return self

    def at(self, temperature: str | float) -> MolecularSystem:
        """Return the same molecule and forces at another temperature in K, or text with a unit.

        Raises
        ------
        MolflowError
            If the temperature is not above 0 and at most 10,000 K.
        """
        kelvin = parse_quantity(temperature, "temperature", "temperature")
        if not 0.0 < kelvin <= 10_000.0:
            raise MolflowError(f"temperature is {temperature}: give 0 to 10,000 K, without 0.")
        changed = self.model_copy(update={"temperature": kelvin})
        changed.__dict__.pop("ensemble", None)  # what it is hashed by was of this temperature
        return changed

    @property
    def periodic(self) -> bool:
        """Whether the force field is applied in a periodic box (a System XML says it itself)."""
        return self.nonbonded_method in ("CutoffPeriodic", "PME")

    @property
    def folder(self) -> Path:
        """The folder that the system was read from."""
        return self._folder

    @property
    def variant(self) -> str | None:
        """Name of the selection, or None for all atoms."""
        return self._variant

    @property
    def label(self) -> str:
        """``name`` or ``name:variant``, as it is written on the command line."""
        return self.name if self._variant is None else f"{self.name}:{self._variant}"

    @property
    def structure_path(self) -> Path:
        """Path of the structure file."""
        return self._folder / self.structure

    @property
    def record(self) -> dict:
        """What a file made from the system says of it, so that it is found again."""
        folder = self._folder.resolve()
        place = None if folder.parent == systems_folder().resolve() else str(folder)
        return {
            "system": self.label,
            "system_path": place,
            "ensemble": self.ensemble,
            "ensemble_hash": self.ensemble_hash,
        }

    @cached_property
    def ensemble(self) -> dict:
        """Everything that defines the Boltzmann ensemble and its sampler, ready for hashing."""
        fields = type(self).model_fields
        definition = {
            key: value
            for key, value in self.model_dump(exclude=_NOT_HASHED).items()
            if key in _ALWAYS_HASHED or value != fields[key].default
        }
        if self.potential is not None:
            definition["potential"] = self.potential.definition
        definition["structure_sha256"] = sha256_of(self.structure_path)
        own = [self._folder / name for name in self.forcefield if self.beside(name)]
        contents = {
            file.name: sha256_of(file) for path in own for file in with_includes(path)
        }
        if self.system_xml:
            contents[self.system_xml] = sha256_of(self._folder / self.system_xml)
        return definition | ({"files_sha256": contents} if contents else {})

    @property
    def ensemble_hash(self) -> str:
        """First 16 hex digits of the SHA-256 of `ensemble`."""
        text = json.dumps(self.ensemble, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def atoms(self) -> list[int] | None:
        """Indices that the variant keeps, or None for all atoms."""
        return None if self._variant is None else self.selections[self._variant].atoms

    def beside(self, name: str) -> bool:
        """Return whether a file of this name is beside ``system.yaml``."""
        return (self._folder / name).is_file()

    def topology(self):
        """Return the `mdtraj.Topology` of the variant, with standard bonds.

        Raises
        ------
        MolflowError
            If the structure cannot be read, or has not the atoms of the variant.
        """
        topology = self._read_structure().topology
        if self.atoms is None:
            return topology
        if max(self.atoms) >= topology.n_atoms:
            raise MolflowError(
                f"the selection '{self._variant}' of '{self.name}' names the atom "
                f"{max(self.atoms)}, and the structure has the atoms 0 to {topology.n_atoms - 1}."
            )
        return topology.subset(self.atoms)

    def start_positions(self):
        """Return the structure's positions of all atoms, shape (n_atoms, 3), nm."""
        return self._read_structure().xyz[0]

    def _read_structure(self):
        import mdtraj

        try:
            return mdtraj.load(str(self.structure_path))
        except Exception as error:  # mdtraj raises whatever went wrong in a line of the file
            raise MolflowError(
                f"the structure '{self.structure_path}' of '{self.name}' cannot be read: {error}"
            ) from error


def systems_folder() -> Path:
    """Return the folder of built-in systems, in an installed wheel or in a checkout."""
    installed = Path(__file__).parent / "_systems"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "systems"


def built_in_systems() -> list[str]:
    """Return the names of the built-in systems."""
    return sorted(path.parent.name for path in systems_folder().glob("*/system.yaml"))


def load_system(name: str | Path) -> MolecularSystem:
    """Load a built-in system by name or any system by the path of its folder or YAML file.

    Parameters
    ----------
    name : str or Path
        ``"alanine_dipeptide"``, ``"alanine_dipeptide:heavy"`` for a selection of atoms,
        or a path.

    Raises
    ------
    MolflowError
        If there is no such system or its description is wrong.
    """
    text, variant = str(name), ""
    if ":" in text and not Path(text).exists():
        text, _, variant = text.rpartition(":")
    path = systems_folder() / text / "system.yaml"
    here = Path(text) / "system.yaml"
    if text in built_in_systems():
        if here.is_file() and not here.samefile(path):
            raise MolflowError(
                f"'{text}' is a system that comes with molflow, and a folder of that name is here: "
                f"write ./{text} for the folder, or rename it to mean the other."
            )
    else:
        path = Path(text)
        if path.is_dir():
            path = path / "system.yaml"
        if not path.is_file():
            raise MolflowError(
                f"there is no system '{text}': the built-in ones are "
                f"{', '.join(built_in_systems())}; or give the path of a folder with a "
                "system.yaml, which molflow init makes of a molecule."
            )
    try:
        system = MolecularSystem(**read_yaml(path))
    except ValidationError as error:
        raise MolflowError(_first_of(path, error)) from error
    except TypeError as error:
        raise MolflowError(f"'{path}' does not describe a system: {error}.") from error
    system._folder = path.parent.resolve()
    for what, file in (("structure", system.structure), ("system_xml", system.system_xml)):
        if file is not None and not system.beside(file):
            raise MolflowError(f"'{path}' names the {what} '{file}', which is not beside it.")
    if variant:
        if variant not in system.selections:
            raise MolflowError(
                f"'{system.name}' has no selection '{variant}': "
                f"it has {', '.join(system.selections) or 'none'}."
            )
        system._variant = variant
    return system


def _first_of(path: Path, error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    if not key:
        return f"'{path}' does not describe a system: {reason}."
    if first["type"] == "missing":
        return f"'{path}' does not describe a system: it lacks '{key}'."
    if reason.startswith(f"{key} is "):
        return f"'{path}' does not describe a system: {reason}."
    shown = str(first["input"])
    shown = shown if len(shown) < 60 else f"{shown[:57]}..."
    return f"'{path}' does not describe a system: '{key}' is {shown}: {reason}."


def recorded_system(record: dict) -> MolecularSystem:
    """Return the system that a record speaks of, from where it was.

    Parameters
    ----------
    record : dict
        With ``system``, ``system_path`` (absent in records of earlier versions and for built-in
        systems) and ``ensemble_hash``, as `MolecularSystem.record`.

    Raises
    ------
    MolflowError
        If it is not there any more, or is another one now.
    """
    label, path = record["system"], record.get("system_path")
    base, _, variant = str(label).partition(":")
    place = str(systems_folder() / base) if path is None and base in built_in_systems() else path
    wanted = label if place is None else f"{place}:{variant}" if variant else place
    try:
        system = load_system(wanted)
    except MolflowError as error:
        if path is None:
            raise
        if not Path(path).exists():
            raise MolflowError(
                f"the system '{label}' was in '{path}' and is not there any more: bring its folder "
                "back to that place."
            ) from error
        raise MolflowError(
            f"the system '{label}' was in '{path}' and cannot be read from there: {error}"
        ) from error
    if system.ensemble_hash != record["ensemble_hash"]:
        raise MolflowError(
            f"the system '{label}' in '{system.folder}' is another one now (its hash is "
            f"{system.ensemble_hash}, and it was {record['ensemble_hash']}): molecule, force field "
            "or state were changed."
        )
    return system
