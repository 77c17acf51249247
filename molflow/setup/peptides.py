"""Peptides from their sequence, built by tleap in extended form."""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

import numpy as np
from openmm import app

from molflow.errors import MolflowError
from molflow.setup.ambertools import run_ambertools, telling_line
from molflow.setup.molecule import Molecule, check_positions

_ONE_LETTER = dict(zip(
    "ACDEFGHIKLMNPQRSTVWY",
    "ALA CYS ASP GLU PHE GLY HIS ILE LYS LEU MET ASN PRO GLN ARG SER THR VAL TRP TYR".split(),
    strict=True,
))  # fmt: skip
#: Other protonation states by AMBER's names.
_STATES = {"HIE", "HID", "HIP", "ASH", "GLH", "LYN", "CYX"}
_NAMES = set(_ONE_LETTER.values()) | _STATES
_START, _END = {"ACE"}, {"NME", "NHE", "NH2"}
#: Residues beyond which an extended chain is no start.
_MOST = 100


def parse_sequence(text: str) -> list[str]:
    """Return the names of residues of ``"ACE-ALA-NME"`` or, in one-letter codes, ``"GYDPETGTWG"``.

    Raises
    ------
    MolflowError
        If a residue is unknown, a cap is inside, or the sequence is empty or too long.
    """
    stripped = text.strip()
    if re.fullmatch(r"[A-Za-z]+", stripped) and stripped.upper() not in _NAMES | _START | _END:
        if stripped != stripped.upper():
            raise MolflowError(
                f"the sequence '{text}' has small letters, which some programs read as D-residues: "
                "write capital letters for L-residues; give D-residues as PDB or SMILES."
            )
        unknown = sorted(set(stripped) - set(_ONE_LETTER))
        if unknown:
            raise MolflowError(
                f"the sequence '{text}' has the letter {unknown[0]}, which is none of the twenty "
                f"residues {''.join(_ONE_LETTER)}: write three-letter names with dashes."
            )
        names = [_ONE_LETTER[letter] for letter in stripped]
    else:
        names = [word.upper() for word in re.split(r"[-\s]+", stripped) if word]
    for place, name in enumerate(names):
        inside = 0 < place < len(names) - 1
        if name not in _NAMES | _START | _END:
            raise MolflowError(
                f"the sequence '{text}' names the residue {name}, which is not known here: "
                f"{', '.join(sorted(_NAMES | _START | _END))}; give others as PDB or SMILES."
            )
        if name in _START | _END and (inside or (name in _START) != (place == 0)):
            raise MolflowError(
                f"the sequence '{text}' has the cap {name} in the wrong place: ACE comes first, "
                "NME or NH2 last."
            )
    peptide = [name for name in names if name in _NAMES]
    if not peptide or len(names) > _MOST:
        raise MolflowError(
            f"the sequence '{text[:60]}' has {len(peptide)} residues: give 1 to {_MOST}, such as "
            "ACE-ALA-ALA-NME or GYDPETGTWG."
        )
    if "CYX" in peptide:
        raise MolflowError(
            f"the sequence '{text}' has CYX, a cysteine in a disulfide, and a sequence does not "
            "say with which it is joined: give the structure as PDB."
        )
    return names


def build_peptide(text: str) -> Molecule:
    """Return a peptide in extended form, with all hydrogens.

    Ends without a cap are charged (NH3+ and COO-). HIS is HIE, the hydrogen at N-epsilon.

    Raises
    ------
    MolflowError
        If the sequence is wrong or AmberTools is absent.
    """
    names, notes = parse_sequence(text), []
    words = ["NHE" if name == "NH2" else name for name in names]
    if "HIS" in words:
        words = ["HIE" if name == "HIS" else name for name in words]
        notes.append("HIS was built as HIE: write HID or HIP for another protonation state.")
    if words[0] not in _START:
        words[0] = f"N{words[0]}"
        notes.append(
            f"The chain begins with a charged {names[0]} (NH3+): write ACE-... for a cap."
        )
    if words[-1] not in _END:
        words[-1] = f"C{words[-1]}"
        notes.append(f"The chain ends with a charged {names[-1]} (COO-): write ...-NME for a cap.")
    if len(words) == 1:
        raise MolflowError(
            f"the sequence '{text}' is one residue with two charged ends, for which force fields "
            f"have no template: cap it, ACE-{names[0]}-NME."
        )
    with tempfile.TemporaryDirectory() as folder:
        script = (
            f"source leaprc.protein.ff14SB\nmade = sequence {{ {' '.join(words)} }}\n"
            "savepdb made made.pdb\nquit\n"
        )
        (Path(folder) / "leap.in").write_text(script)
        output = run_ambertools("tleap", ["-f", "leap.in"], Path(folder))
        made = Path(folder) / "made.pdb"
        if not made.is_file():
            raise MolflowError(
                f"tleap cannot build the sequence '{text}': {telling_line(output)}."
            )
        file = app.PDBFile(io.StringIO(made.read_text()))
    molecule = Molecule(
        file.topology, np.array(file.getPositions(asNumpy=True)._value), built=True,
        origin=f"the sequence {'-'.join(names)}", notes=tuple(notes),
    )  # fmt: skip
    return check_positions(molecule, f"the sequence '{text}'")
