"""A molecule on its way to a system folder, and what is refused of any."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from scipy.spatial import cKDTree

from molflow.errors import MolflowError

#: Atoms beyond which a PDB file cannot number them.
MOST_ATOMS = 99_999
#: nm; atoms that are nearer coincide, and coordinates beyond are no molecule.
_COINCIDE, _FAR = 0.03, 1e4
#: Bytes beyond which a text file is not a molecule.
_LARGEST_FILE = 200_000_000
#: How files begin that are no plain text, what they are, and what to do.
_BINARY = (
    (b"\x1f\x8b", "compressed by gzip", "unpack it with gunzip"),
    (b"BZh", "compressed by bzip2", "unpack it with bunzip2"),
    (b"PK\x03\x04", "a zip archive or an office document", "unpack it, or save it as text"),
    (b"\xff\xfe", "text in UTF-16", "save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16", "save it as UTF-8"),
)
WATER = {"HOH", "WAT", "SOL", "TIP3", "TIP", "H2O", "DOD", "SPC", "TP3"}
IONS = {
    "NA", "NA+", "Na+", "CL", "CL-", "Cl-", "K", "K+", "LI", "LI+", "MG", "CA", "ZN", "CS", "RB",
    "BR", "I", "F", "SOD", "CLA", "POT", "CAL", "ZN2", "MG2", "CES",
}  # fmt: skip


@dataclass(frozen=True)
class Molecule:
    """Atoms, bonds and positions, and the System where the input brings one.

    Attributes
    ----------
    topology : openmm.app.Topology
        With the box, if there is one.
    positions : ndarray, (n_atoms, 3)
        nm.
    system : openmm.System, optional
        With all forces; otherwise a force field or potential is still to be applied.
    built : bool
        Whether the positions were made up here, so that they may be relaxed.
    charge : int, optional
        In elementary charges, where the input says it.
    origin : str
        What it was made of, for the folder's README.
    notes : tuple of str
        What the caller should know.
    source : rdkit.Chem.Mol, optional
        Of a small molecule, with bond orders.
    """

    topology: app.Topology
    positions: np.ndarray
    system: openmm.System | None = None
    built: bool = False
    charge: int | None = None
    origin: str = ""
    notes: tuple[str, ...] = ()
    source: object = None

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.topology.getNumAtoms()

    @property
    def box(self) -> np.ndarray | None:
        """Box vectors (3, 3) in nm, None without a box."""
        vectors = self.topology.getPeriodicBoxVectors()
        return None if vectors is None else np.array(vectors.value_in_unit(unit.nanometer))

    @property
    def solute(self) -> list[int]:
        """Indices of the atoms that are neither water nor ions."""
        return [
            atom.index
            for residue in self.topology.residues()
            if residue.name not in WATER and not is_ion(residue)
            for atom in residue.atoms()
        ]

    def noted(self, *notes: str) -> Molecule:
        """Return the molecule with more notes."""
        return replace(self, notes=self.notes + notes)


def is_ion(residue) -> bool:
    """Return whether a residue is a single ion."""
    return residue.name in IONS and sum(1 for _ in residue.atoms()) == 1


def readable(path: str | Path, what: str) -> Path:
    """Return the path of a file that is there and not empty.

    Raises
    ------
    MolflowError
        If it is not.
    """
    text = str(path)
    if re.match(r"[A-Za-z]{2,}:/", text):
        raise MolflowError(f"{what} is the address '{text}': download the file and give its path.")
    path = Path(path)
    if path.is_dir():
        raise MolflowError(f"{what} is '{path}', a folder: give a file.")
    if path.is_symlink() and not path.exists():
        raise MolflowError(f"{what} is '{path}', a link to no file: give the file itself.")
    if path.exists() and not path.is_file():
        raise MolflowError(f"{what} is '{path}', a pipe or device: save it as a file first.")
    if not path.is_file():
        raise MolflowError(f"{what} is '{path}', which is not there: check its path.")
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        raise MolflowError(f"cannot read '{path}' ({error.strerror or error}).") from error
    if not size:
        raise MolflowError(f"{what} is '{path}', which is empty.")
    if size > _LARGEST_FILE:
        raise MolflowError(
            f"{what} is '{path}' of {size / 1e6:.0f} MB, too large for one molecule."
        )
    return path


def readable_text(path: str | Path, what: str) -> str:
    """Return the text of a file that is there, not empty and text, with plain ends of lines."""
    path = readable(path, what)
    data = path.read_bytes()
    for begin, kind, advice in _BINARY:
        if data.startswith(begin):
            raise MolflowError(f"{what} is '{path}', which is {kind}: {advice}.")
    if b"\0" in data:
        raise MolflowError(f"{what} is '{path}', which is not a text file.")
    text = data.decode("utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check_positions(molecule: Molecule, name: str) -> Molecule:
    """Return the molecule.

    Raises
    ------
    MolflowError
        If there is no atom, too many, one without element, or positions that cannot be.
    """
    positions, atoms = molecule.positions, list(molecule.topology.atoms())
    if not atoms:
        raise MolflowError(f"{name} holds no atom: give a file of a molecule.")
    if len(atoms) > MOST_ATOMS:
        raise MolflowError(too_many(name, len(atoms)))
    if positions.shape != (len(atoms), 3):
        raise MolflowError(
            f"{name} has {len(atoms)} atoms and {len(positions)} positions: topology and "
            "coordinates have to be of the same molecule."
        )
    bare = [atom for atom in atoms if atom.element is None]
    if bare:
        raise MolflowError(
            f"{name}: {described(bare[0])} has no element that could be recognised (virtual sites "
            "are not atoms either): write its element, or take such particles out."
        )
    heavy = [atom for atom in atoms if atom.element is app.element.deuterium]
    if heavy:
        raise MolflowError(
            f"{name}: {described(heavy[0])} is deuterium, and {len(heavy)} such atoms are there: "
            "write H for hydrogen; isotopes are not told apart here."
        )
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1) | (np.abs(positions) > _FAR).any(1))
    if len(bad):
        raise MolflowError(
            f"{name}: the position of {described(atoms[bad[0]])} is not a finite number of "
            "nanometres: bring the coordinates in order."
        )
    near = cKDTree(positions).query_pairs(_COINCIDE, output_type="ndarray")
    if len(near):
        a, b = (described(atoms[k]) for k in near[0])
        raise MolflowError(
            f"{name}: {a} and {b} are in the same place: take one of them out if it is there "
            "twice; otherwise coordinates are missing, or in nanometres where Angstrom are meant."
        )
    return molecule


def too_many(name: str, atoms: int) -> str:
    """Return what to say of so many atoms."""
    return (
        f"{name} holds {atoms:,} atoms, and systems here have at most {MOST_ATOMS:,}: give the "
        "part "
        "that matters, or a smaller box."
    )


def described(atom) -> str:
    """Return the name of an atom for people."""
    residue = atom.residue
    return f"atom {atom.index + 1} ({atom.name} of {residue.name}{residue.id})"
