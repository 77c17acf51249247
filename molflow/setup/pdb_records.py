"""What the lines of PDB and PDBx files say, before anything is made of them."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from openmm import app
from openmm.app.internal.pdbx.reader.PdbxReader import PdbxReader

from molflow.errors import MolflowError
from molflow.setup import molecule
from molflow.setup.molecule import WATER, too_many

_ATOMS = ("ATOM  ", "HETATM")
#: Columns up to which a line of an atom has to go.
_LEAST = 54


@dataclass
class PdbContents:
    """Models, alternate locations and remarks of a PDB file."""

    models: int = 1
    locations: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def scan_pdb(text: str, name: str) -> PdbContents:
    """Return what a PDB file holds.

    Raises
    ------
    MolflowError
        If it has no atoms, a line that is cut off or without coordinates, an atom twice, or a box
        without size.
    """
    found, insertions = PdbContents(), set()
    seen: dict[tuple[str, ...], int] = {}
    atoms = models = 0
    for number, line in enumerate(text.splitlines(), 1):
        record = line[:6].ljust(6)
        if record == "MODEL ":
            models += 1
            seen = {}
        elif record == "TER   ":
            seen = {}  # another molecule may have the same chain and numbers
        elif record == "CRYST1":
            _check_box(line, number, name)
        elif record in _ATOMS:
            atoms += 1
            where = f"{name}, line {number}"
            if len(line) < _LEAST:
                raise MolflowError(f"{where}: the line of an atom is cut off: is the file whole?")
            try:
                [float(line[start : start + 8]) for start in (30, 38, 46)]
            except ValueError as error:
                raise MolflowError(
                    f"{where}: the coordinates '{line[30:54].strip()}' are not three numbers in "
                    "their columns: bring the line in order."
                ) from error
            element = line[76:78].strip()
            if element.isalpha() and not _is_element(element):
                raise MolflowError(
                    f"{where}: the element {element} does not exist: correct columns 77 and 78."
                )
            if not line[12:16].strip():
                raise MolflowError(f"{where}: the atom has no name: write it in columns 13 to 16.")
            location, insertion, residue = line[16], line[26], line[17:20].strip()
            if location != " ":
                found.locations.setdefault(location, f"{residue}{line[22:26].strip()}")
            if insertion != " ":
                insertions.add(f"{residue}{line[22:27].strip()}")
            key = (line[21], line[22:27], residue, line[12:16], location)
            if key in seen and residue not in WATER:
                raise MolflowError(
                    f"{where}: the atom {line[12:16].strip()} of {residue}{line[22:27].strip()} is "
                    f"there already in line {seen[key]}: take one of them out, or number the "
                    "residues if they are two."
                )
            seen[key] = number
    if not atoms:
        raise MolflowError(
            f"{name} holds no ATOM or HETATM lines in the columns of a PDB file: give a PDB, "
            "PDBx/mmCIF, SDF or MOL2 file."
        )
    found.models = max(1, models)
    if atoms // found.models > molecule.MOST_ATOMS:
        raise MolflowError(too_many(name, atoms // found.models))
    if insertions:
        found.notes.append(
            f"Residues with insertion codes ({', '.join(sorted(insertions)[:5])}) are numbered "
            "anew, in the order of the file."
        )
    return found


def _is_element(symbol: str) -> bool:
    try:
        app.Element.getBySymbol(symbol.capitalize())
    except KeyError:
        return symbol.upper() in ("D", "EP")  # deuterium; extra points are told of later
    return True


def _check_box(line: str, number: int, name: str) -> None:
    try:
        edges = [float(line[start : start + 9]) for start in (6, 15, 24)]
        angles = [float(line[start : start + 7]) for start in (33, 40, 47)]
    except ValueError as error:
        raise MolflowError(f"{name}, line {number}: the box cannot be read: correct it.") from error
    if not all(0 < edge < 1e5 for edge in edges):
        raise MolflowError(
            f"{name}, line {number}: the box has the edges {edges} Angstrom: correct the CRYST1 "
            "line, or take it out if there is no box."
        )
    cosines = np.cos(np.radians(angles))
    if not all(10 < angle < 170 for angle in angles) or not (
        1 + 2 * np.prod(cosines) - np.sum(cosines**2) > 1e-3
    ):
        raise MolflowError(
            f"{name}, line {number}: the box has the angles {angles} degrees, which enclose no "
            "volume: correct the CRYST1 line, or take it out if there is no box."
        )


def one_location(text: str, found: PdbContents, name: str, altloc: str | None) -> str:
    """Return the lines with one alternate location of every atom.

    Raises
    ------
    MolflowError
        If there are several and none is chosen, or the chosen one is not there.
    """
    if not found.locations:
        if altloc is not None:
            raise MolflowError(f"altloc is {altloc}, and {name} has no alternate locations.")
        return text
    names = sorted(found.locations)
    if altloc is None and len(names) > 1:
        raise MolflowError(
            f"{name} has atoms in alternate locations {', '.join(names)} (first in "
            f"{found.locations[names[0]]}): say which with --altloc {names[0]}."
        )
    if altloc is not None and altloc not in names:
        raise MolflowError(f"altloc is {altloc}, and {name} has {', '.join(names)}.")
    chosen = altloc or names[0]
    kept = []
    for line in text.splitlines():
        if line[:6].ljust(6) in _ATOMS:
            if line[16] not in (" ", chosen):
                continue
            line = f"{line[:16]} {line[17:]}"
        kept.append(line)
    return "\n".join(kept) + "\n"


def pdbx_models(text: str, name: str, model: int | None) -> int:
    """Return which frame of a PDBx/mmCIF file is the model, from 0.

    Raises
    ------
    MolflowError
        If it cannot be read, has alternate locations, or several models and none is chosen.
    """
    data: list = []
    try:
        PdbxReader(io.StringIO(text)).read(data)
        sites = data[0].getObj("atom_site")
        names = sites.getAttributeList()
        rows = [dict(zip(names, row, strict=False)) for row in sites.getRowList()]
    except Exception as error:  # the reader raises exceptions of its own and IndexError
        raise MolflowError(
            f"{name} is not a readable PDBx/mmCIF file with atoms (atom_site): give the whole "
            "file, "
            "of a ligand its SDF."
        ) from error
    locations = {row.get("label_alt_id", ".") for row in rows} - {".", "?"}
    if len(locations) > 1:
        raise MolflowError(
            f"{name} has atoms in alternate locations {', '.join(sorted(locations))}: take all but "
            "one out, or give a PDB file and --altloc."
        )
    models = list(dict.fromkeys(row.get("pdbx_PDB_model_num", "1") for row in rows))
    if model is None and len(models) > 1:
        raise MolflowError(
            f"{name} holds {len(models)} models, and a system is one molecule: say which with "
            "--model 1."
        )
    if model is not None and not 1 <= model <= len(models):
        raise MolflowError(f"model is {model}, and {name} has the models 1 to {len(models)}.")
    return (model or 1) - 1


