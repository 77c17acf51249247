"""The folder of a system: written whole, under another name first."""

from __future__ import annotations

import glob
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openmm
import yaml
from openmm import app, unit

from molflow.errors import MolflowError
from molflow.files import check_length, remove_leftovers, write_text
from molflow.setup.molecule import Molecule

DESCRIPTION, STRUCTURE, SYSTEM = "system.yaml", "structure.pdb", "system.xml"
#: Bond orders of a drawn molecule, for those who need them; no part of the ensemble.
DRAWN = "molecule.sdf"


@contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """Yield a folder beside `out` that takes its name if the body succeeds.

    Raises
    ------
    MolflowError
        If `out` holds anything already or cannot be written.
    """
    out = Path(out)
    check_length(out)
    if not out.name.isprintable():
        raise MolflowError(f"out is {str(out)!r}: give a name of letters that can be seen.")
    if out.is_symlink() and not out.exists():
        raise MolflowError(f"out is '{out}', a link that leads nowhere: choose another folder.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MolflowError(
            f"out is '{out}', which is there already: choose another folder for the system."
        )
    temporary = out.parent / f".{out.name}.{os.getpid()}.partial"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out.parent, glob.escape(out.name))
        temporary.mkdir()
    except OSError as error:
        raise MolflowError(
            f"cannot write '{out}' ({error.strerror or error}): choose a place that you may write "
            "to."
        ) from error
    try:
        yield temporary
        try:
            os.replace(temporary, out)
        except OSError as error:
            raise MolflowError(
                f"out is '{out}', which cannot be written, perhaps because another process has "
                f"made it meanwhile ({error.strerror or error}): look there or choose another "
                "folder for the system."
            ) from error
    except MolflowError as error:
        # Sentences name files of the folder by the name that nobody has seen.
        said = str(error).replace(f"{temporary.resolve()}/", "").replace(f"{temporary}/", "")
        said = said.removeprefix("'system.yaml' does not describe a system: ")
        raise MolflowError(said) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_structure(folder: Path, molecule: Molecule, positions: np.ndarray) -> None:
    """Write atoms, bonds and positions (nm) as the structure of a system."""
    text = io.StringIO()
    app.PDBFile.writeFile(molecule.topology, positions * unit.nanometer, text, keepIds=False)
    lines = [line for line in text.getvalue().splitlines() if not line.startswith("REMARK")]
    # The first line of OpenMM has the date in it: the same molecule makes the same file.
    write_text(folder / STRUCTURE, "\n".join(lines) + "\n")


def write_system(
    folder: Path, molecule: Molecule, entries: dict, files: list[Path], readme: str
) -> None:
    """Write ``system.yaml`` and what it names into a folder, with a README.

    Parameters
    ----------
    folder : Path
    molecule : Molecule
        Its System is serialised, if it has one.
    entries : dict
        Of ``system.yaml``, in order.
    files : list of Path
        Force-field files to copy.
    readme : str
    """
    write_structure(folder, molecule, molecule.positions)
    if molecule.system is not None:
        write_text(folder / SYSTEM, openmm.XmlSerializer.serialize(molecule.system))
    if molecule.source is not None:
        write_text(folder / DRAWN, drawn_text(molecule))
    for file in files:
        shutil.copyfile(file, folder / file.name)
    write_text(folder / DESCRIPTION, described(entries))
    write_text(folder / "README.md", readme)


def drawn_text(molecule: Molecule) -> str:
    """Return a small molecule with its bond orders as an SDF."""
    from rdkit import Chem

    return f"{Chem.MolToMolBlock(molecule.source)}$$$$\n"


def described(entries: dict) -> str:
    """Return the text of a ``system.yaml``."""
    head = "# Everything here except `description` and `selections` enters the ensemble hash."
    text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=100)
    return f"{head}\n{text}"
