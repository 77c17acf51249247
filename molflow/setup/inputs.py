"""Which input is given to `init`, and what does not go with it."""

from __future__ import annotations

from pathlib import Path

from molflow.errors import MolflowError

#: Inputs, and what belongs to each of them only.
_GROUPS = {
    "sequence": (), "smiles": (), "system_xml": ("structure",), "prmtop": ("inpcrd",),
    "psf": ("structure", "parameters"), "top": ("gro", "include"), "molecule": (),
}  # fmt: skip
#: Files that are taken otherwise than as a structure: what they are, and how to give them.
_OTHERWISE = {
    (".prmtop", ".parm7"): "an AMBER topology: give --prmtop with --inpcrd",
    (".inpcrd", ".rst7"): "AMBER coordinates: give --prmtop with --inpcrd",
    (".psf",): "a CHARMM topology: give --psf with --parameters and --structure",
    (".top", ".itp"): "a GROMACS topology: give --top with --gro",
    (".gro",): "GROMACS coordinates without bonds: give --top with --gro, or a PDB",
    (".xml",): "an OpenMM file: give a serialised System as --system-xml with --structure",
    (".smi", ".smiles"): "a list of SMILES: give the text of one as --smiles",
    (".xyz", ".crd", ".poscar"): (
        "coordinates without bonds: give an SDF or MOL2 (obabel converts), or a PDB with CONECT "
        "lines"
    ),
    (".dcd", ".xtc", ".trr", ".nc", ".h5"): (
        "a trajectory: give the structure that it is of, and the trajectory to molflow prepare"
    ),
    (".pdbqt", ".pqr"): "a PDB file with other columns: give the PDB that it was made of",
    (".gz", ".bz2", ".zip", ".tar"): "compressed: unpack it first",
    (".yaml", ".yml"): "a description: molflow simulate and the other verbs take its folder",
}  # fmt: skip
#: Options that only some inputs can have.
_ONLY = {
    "model": ("molecule", "system_xml"), "altloc": ("molecule", "system_xml"),
    "add": ("molecule", "system_xml"), "forcefield": ("molecule", "sequence", "smiles"),
    "potential": ("molecule", "sequence", "smiles"),
    "constraints": ("molecule", "sequence", "smiles", "prmtop", "psf", "top"),
    "hydrogen_mass": ("molecule", "sequence", "smiles", "prmtop", "psf", "top"),
    "cutoff": ("molecule", "sequence", "smiles", "prmtop", "psf", "top"),
}  # fmt: skip


def input_kind(given: dict) -> str:
    """Return which input is given; exactly one, with what belongs to it only."""
    kinds = [kind for kind in _GROUPS if given[kind] not in (None, "")]
    if len(kinds) != 1:
        raise MolflowError(
            f"{' and '.join(kinds) or 'nothing'} is given: give one of a structure file, sequence, "
            "smiles, system_xml, prmtop, psf and top."
        )
    for name in {name for names in _GROUPS.values() for name in names} - set(_GROUPS[kinds[0]]):
        if given[name]:
            raise MolflowError(f"{name} does not go with {kinds[0]}: leave it out.")
    if given["potential"] and given["forcefield"]:
        raise MolflowError("forcefield and potential are both given: choose one.")
    _check_settings(kinds[0], given)
    return kinds[0]


def _check_settings(kind: str, given: dict) -> None:
    """Raise `MolflowError` for an option that would change nothing, or that cannot be."""
    for name, kinds in _ONLY.items():
        if given[name] and kind not in kinds:
            why = "brings its own forces" if kind not in ("sequence", "smiles") else "is whole"
            raise MolflowError(
                f"{name} is {shown(given[name])}, and {kind} {why}: leave {name} out."
            )
    if kind == "system_xml" and given["solvent"] == "implicit":
        raise MolflowError(
            "solvent is 'implicit', and system_xml brings its own forces: leave solvent out."
        )
    if not 0 <= given["ph"] <= 14:
        raise MolflowError(f"ph is {given['ph']:g}: give a pH from 0 to 14.")
    if given["potential"]:
        for name in ("constraints", "hydrogen_mass", "cutoff"):
            if given[name] not in (None, "none"):
                raise MolflowError(
                    f"{name} is {shown(given[name])}, and a potential knows no such thing: leave "
                    f"{name} out."
                )
    elif given["multiplicity"] != 1:
        raise MolflowError(
            f"multiplicity is {given['multiplicity']}, and force fields have no electrons: leave "
            "it "
            "out, or give a potential."
        )


def shown(value) -> str:
    """Return what was given as a sentence names it."""
    return f"'{', '.join(value) if isinstance(value, (list, tuple, set)) else value}'"


def check_drawn(given: dict) -> None:
    """Raise `MolflowError` for options that SDF, MOL and MOL2 files do not have."""
    for name in ("model", "altloc"):
        if given[name] is not None:
            raise MolflowError(f"{name} is for PDB and PDBx/mmCIF files: leave it out.")
    others = sorted(set(given["add"]) - {"hydrogens"})
    if others:
        raise MolflowError(f"add is '{others[0]}': SDF and MOL2 files can be given hydrogens only.")


def check_structure_file(path: Path) -> None:
    """Raise `MolflowError` if a file is known to be something else than a structure."""
    for endings, what in _OTHERWISE.items():
        if path.suffix.lower() in endings and path.is_file():
            raise MolflowError(f"the structure is '{path}', {what}.")
    if not path.suffix and not path.exists() and not path.is_symlink() and "://" not in str(path):
        raise MolflowError(
            f"the structure is '{path}', and there is no such file: a SMILES goes with --smiles, a "
            "sequence with --sequence."
        )
