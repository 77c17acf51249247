"""Molecular systems: what defines an ensemble, and where the built-in ones live."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from molflow.errors import MolflowError
from molflow.potentials import PotentialSettings


class Selection(BaseModel):
    """A subset of the atoms that a coarse-grained model keeps."""

    model_config = ConfigDict(extra="forbid")
    atoms: list[int] = Field(description="0-based indices in the structure's order")
    description: str = ""


class MolecularSystem(BaseModel):
    """A molecule, its force field or potential, and the thermodynamic state.

    Attributes
    ----------
    forcefield : list of str
        Files of a force field, unless there is a `potential`.
    potential : PotentialSettings, optional
    temperature : float
        K.
    friction : float
        1/ps, of the Langevin thermostat.
    timestep : float
        fs.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    description: str = ""
    structure: str
    forcefield: list[str] = []
    potential: PotentialSettings | None = None
    nonbonded_method: str = "NoCutoff"
    constraints: str = "none"
    temperature: float = Field(gt=0)
    friction: float = Field(gt=0)
    timestep: float = Field(gt=0)
    selections: dict[str, Selection] = {}
    _folder: Path = PrivateAttr(default=Path("."))
    _variant: str | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _has_one_energy(self):
        if bool(self.forcefield) == (self.potential is not None):
            raise ValueError("give it either a forcefield or a potential")
        return self

    @property
    def folder(self) -> Path:
        """The folder that the system was read from."""
        return self._folder

    @property
    def variant(self) -> str | None:
        """Name of the coarse selection, or None for all atoms."""
        return self._variant

    @property
    def label(self) -> str:
        """``name`` or ``name:variant``, as it is written on the command line."""
        return self.name if self._variant is None else f"{self.name}:{self._variant}"

    @property
    def structure_path(self) -> Path:
        """Path of the structure file."""
        return self._folder / self.structure

    @cached_property
    def ensemble(self) -> dict:
        """Everything that defines the Boltzmann ensemble and its sampler, ready for hashing."""
        definition = self.model_dump(exclude={"description", "selections", "potential"})
        if self.potential is not None:
            definition["potential"] = self.potential.definition
        definition["structure_sha256"] = hashlib.sha256(
            self.structure_path.read_bytes()
        ).hexdigest()
        return definition

    @property
    def ensemble_hash(self) -> str:
        """First 16 hex digits of the SHA-256 of `ensemble`."""
        text = json.dumps(self.ensemble, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def atoms(self) -> list[int] | None:
        """Indices that the variant keeps, or None for all atoms."""
        return None if self._variant is None else self.selections[self._variant].atoms

    def topology(self):
        """Return the `mdtraj.Topology` of the variant, with standard bonds."""
        import mdtraj

        topology = mdtraj.load_topology(str(self.structure_path))
        return topology if self.atoms is None else topology.subset(self.atoms)

    def start_positions(self):
        """Return the structure's positions of all atoms, shape (n_atoms, 3), nm."""
        import mdtraj

        return mdtraj.load(str(self.structure_path)).xyz[0]


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
        ``"alanine_dipeptide"``, ``"alanine_dipeptide:heavy"`` for a coarse selection,
        or a path.

    Raises
    ------
    MolflowError
        If there is no such system or its description is wrong.
    """
    text, _, variant = str(name).partition(":")
    path = systems_folder() / text / "system.yaml"
    if text not in built_in_systems():
        path = Path(text)
        if path.is_dir():
            path = path / "system.yaml"
        if not path.is_file():
            raise MolflowError(
                f"there is no system '{text}': the built-in ones are "
                f"{', '.join(built_in_systems())}; or give the path of a folder with a system.yaml."
            )
    try:
        system = MolecularSystem(**yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError, TypeError, UnicodeDecodeError) as error:
        raise MolflowError(f"'{path}' does not describe a system: {error}") from error
    system._folder = path.parent
    if not system.structure_path.is_file():
        raise MolflowError(
            f"'{path}' names the structure '{system.structure}', which is not beside it."
        )
    if variant:
        if variant not in system.selections:
            raise MolflowError(
                f"'{system.name}' has no selection '{variant}': "
                f"it has {', '.join(system.selections) or 'none'}."
            )
        system._variant = variant
    return system
