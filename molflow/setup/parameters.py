"""Molecules that come with their parameters: AMBER, CHARMM, GROMACS and serialised Systems."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from openmm import app

from molflow.errors import MolflowError
from molflow.md.forcefields import read_system_xml
from molflow.setup.charmm import apart_from_caps
from molflow.setup.molecule import Molecule, check_positions, readable, readable_text
from molflow.setup.structures import check_lengths, read_structure

#: From topology, positions and what `createSystem` takes, made later with the chosen settings.
Create = Callable[..., Any]


def _reading(path: Path, what: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except MolflowError:
        raise
    except (Exception, SystemExit) as error:  # the readers raise whatever a line made of them
        raise MolflowError(
            f"'{path}' cannot be read as {what} ({_reason(error)}): is it whole, and of that "
            "format?"
        ) from error


def _reason(error: BaseException) -> str:
    """Return what a reader says of what went wrong; a name or number that it missed is told so."""
    said = str(error).strip().partition("\n")[0].rstrip(". ")[:300]
    if isinstance(error, (KeyError, IndexError)) or not said:
        return f"it lacks {said}" if isinstance(error, KeyError) else "it ends too early"
    return said.replace("Could not locate #include file:", "there is no file to include") if (
        "#include" in said) else said  # fmt: skip


def from_amber(prmtop: str | Path, inpcrd: str | Path | None) -> tuple[Molecule, Create]:
    """Return the molecule of a PRMTOP, with positions of an INPCRD or RST7, and its parameters."""
    prmtop = _text_file(prmtop, "the prmtop")
    if inpcrd is None:
        raise MolflowError(f"'{prmtop}' brings no coordinates: give --inpcrd with them.")
    inpcrd = readable(inpcrd, "the inpcrd")
    coordinates = _reading(inpcrd, "AMBER coordinates", lambda: app.AmberInpcrdFile(str(inpcrd)))
    box = coordinates.boxVectors
    file = _reading(
        prmtop, "an AMBER topology",
        lambda: app.AmberPrmtopFile(str(prmtop), periodicBoxVectors=box),
    )  # fmt: skip
    if box is None:
        file.topology.setPeriodicBoxVectors(None)
    positions = np.array(coordinates.getPositions(asNumpy=True)._value)
    return _checked(file.topology, positions, prmtop), file.createSystem


def from_charmm(
    psf: str | Path, parameters: Sequence[str | Path], structure: str | Path | None
) -> tuple[Molecule, Create]:
    """Return the molecule of a PSF, with positions of a PDB or CRD, and its parameters."""
    psf = _text_file(psf, "the psf")
    if not parameters:
        raise MolflowError(
            f"'{psf}' names types without values: give --parameters with the CHARMM files."
        )
    if structure is None:
        raise MolflowError(f"'{psf}' brings no coordinates: give --structure with a PDB or CRD.")
    structure = readable(structure, "the structure")
    given = [readable(path, "the parameters file") for path in parameters]
    files = [str(path) for path in given]
    values = _reading(Path(files[0]), "CHARMM parameters", lambda: app.CharmmParameterSet(*files))
    reader = app.CharmmCrdFile if structure.suffix.lower() == ".crd" else app.PDBFile
    placed = _reading(structure, "coordinates", lambda: reader(str(structure)))
    box = None
    if reader is app.PDBFile:
        box = placed.topology.getPeriodicBoxVectors()
    file = _reading(
        psf, "a CHARMM PSF", lambda: app.CharmmPsfFile(str(psf), periodicBoxVectors=box)
    )
    # Made anew each time it is asked for, from masses that may be none of an element.
    topology = _reading(psf, "a CHARMM PSF", lambda: file.topology)
    positions = np.array([tuple(p._value) for p in placed.positions])
    if reader is app.CharmmCrdFile:
        positions = 0.1 * positions

    def create(**options):
        try:
            return file.createSystem(values, **options)
        except Exception as error:  # whatever its tables lack
            said = re.sub(r"<(Atom) \d+; \d+ (\w+) \[(\w+): (\w+)\]>", r"\3 of \2", _reason(error))
            said = re.sub(r"<\w+; |; type=None>", "", said)
            raise MolflowError(
                f"the parameters {', '.join(path.name for path in given)} are not enough for "
                f"'{psf}' ({said}): give all files that it was made with, --parameters for each."
            ) from error

    return apart_from_caps(_checked(topology, positions, psf)), create


def from_gromacs(
    top: str | Path, gro: str | Path | None, include: str | Path | None = None
) -> tuple[Molecule, Create]:
    """Return the molecule of a GROMACS topology, with positions of a GRO, and its parameters."""
    top = _text_file(top, "the top")
    if gro is None:
        raise MolflowError(f"'{top}' brings no coordinates: give --gro with them.")
    gro = readable(gro, "the gro")
    placed = _reading(gro, "a GRO file", lambda: app.GromacsGroFile(str(gro)))
    box = placed.getPeriodicBoxVectors()
    if box is not None and not all(box[k][k]._value > 0 for k in range(3)):
        box = None
    if include is not None and not Path(include).is_dir():
        raise MolflowError(f"include is '{include}', no folder: give that of force fields.")
    options = {} if include is None else {"includeDir": str(include)}
    try:
        file = _reading(
            top, "a GROMACS topology",
            lambda: app.GromacsTopFile(str(top), periodicBoxVectors=box, **options),
        )  # fmt: skip
    except MolflowError as error:
        if "no file to include" not in str(error):
            raise
        raise MolflowError(
            f"{str(error).partition(': is it')[0]}: give --include with the folder that has it "
            "(GROMACS's share/gromacs/top), or a topology written by gmx grompp -pp, which needs "
            "none."
        ) from error
    if not file.topology.getNumAtoms():
        raise MolflowError(
            f"'{top}' names no molecule with atoms: give the whole topology (.top), with "
            "[ system ] and [ molecules ], not a part to include (.itp)."
        )
    positions = np.array(placed.getPositions(asNumpy=True)._value)
    return _checked(file.topology, positions, top), file.createSystem


def from_system_xml(path: str | Path, structure: str | Path | None, **choices) -> Molecule:
    """Return the molecule of a serialised System and a structure of the same atoms."""
    path = readable(path, "the System")
    if structure is None:
        raise MolflowError(
            f"'{path}' brings neither atoms' names nor coordinates: give --structure with a PDB."
        )
    found = read_structure(structure, **choices)
    system = read_system_xml(path, path.stem)
    return Molecule(
        found.topology, found.positions, system, origin=f"the System {path.name}",
        notes=found.notes,
    )  # fmt: skip


def _text_file(path: str | Path, what: str) -> Path:
    readable_text(path, what)
    return Path(path)


def _checked(topology: app.Topology, positions: np.ndarray, path: Path) -> Molecule:
    molecule = Molecule(topology, positions, origin=f"the parameters {path.name}")
    return check_lengths(check_positions(molecule, f"'{path}'"), f"'{path}'")
