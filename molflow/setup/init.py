"""`molflow init`: the folder of a system from a molecule as people have it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import openmm
from openmm import app

import molflow
from molflow.errors import MolflowError
from molflow.potentials import POTENTIALS
from molflow.setup import parameters as parameter_files
from molflow.setup.folder import (
    DESCRIPTION,
    STRUCTURE,
    SYSTEM,
    described,
    new_folder,
    write_structure,
    write_system,
)
from molflow.setup.gaff import apply_gaff
from molflow.setup.inputs import check_drawn, check_structure_file, input_kind, shown
from molflow.setup.molecule import Molecule
from molflow.setup.peptides import build_peptide
from molflow.setup.settings import Settings, forcefield_files, settle_box
from molflow.setup.small_molecules import from_file, from_smiles
from molflow.setup.structures import check_bonds, read_structure
from molflow.setup.understanding import check_energy, in_words, understand
from molflow.systems import built_in_systems, load_system
from molflow.units import parse_quantity

_DRAWN = (".sdf", ".mol", ".mol2")
_SMALL = ("gaff2",)
#: fs; longer steps break molecules, whatever is constrained.
_LONGEST_STEP = 5.0
#: How OpenMM says that a residue lacks atoms.
_LACKING = {"hydrogens": "H atom", "atoms": "is missing"}


def init(
    molecule: str | Path | None = None,
    out: str | Path = "system",
    *,
    sequence: str | None = None,
    smiles: str | None = None,
    system_xml: str | Path | None = None,
    structure: str | Path | None = None,
    prmtop: str | Path | None = None,
    inpcrd: str | Path | None = None,
    psf: str | Path | None = None,
    parameters: Sequence[str | Path] = (),
    top: str | Path | None = None,
    gro: str | Path | None = None,
    include: str | Path | None = None,
    forcefield: str | None = None,
    potential: str | None = None,
    charge: int | None = None,
    multiplicity: int = 1,
    solvent: str | None = None,
    add: Collection[str] = (),
    ph: float = 7.0,
    model: int | None = None,
    altloc: str | None = None,
    constraints: str | None = None,
    hydrogen_mass: str | float | None = None,
    timestep: str | float | None = None,
    temperature: str | float = 300.0,
    friction: str | float = 1.0,
    pressure: str | float | None = None,
    cutoff: str | float | None = None,
    seed: int = 0,
    recipe: str | None = None,
) -> dict:
    """Make the folder of a system, check it by one energy, and say what was understood.

    Parameters
    ----------
    molecule : path, optional
        PDB, PDBx/mmCIF, SDF, MOL or MOL2. One of this, `sequence`, `smiles`, `system_xml`,
        `prmtop`, `psf` and `top` is given.
    out : path
        Folder of the system; its name is the system's.
    sequence : str, optional
        ``"ACE-ALA-ALA-NME"`` or one-letter codes.
    smiles : str, optional
        One molecule with its stereochemistry.
    system_xml, structure : path, optional
        A serialised OpenMM System and a PDB of the same atoms. `structure` also gives the
        coordinates of a `psf`.
    prmtop, inpcrd, psf, parameters, top, gro, include : path, optional
        Files of AMBER, CHARMM (`parameters`: several) and GROMACS (`include`: its folder of
        topologies).
    forcefield : str, optional
        ``amber14`` (default), ``amber19``, ``amber99sbildn``, ``charmm36``, or OpenMM force-field
        files separated by commas; ``gaff2`` (default) for small molecules.
    potential : str, optional
        One of `molflow.potentials.POTENTIALS`, in place of a force field.
    charge, multiplicity : int, optional
        Of the whole molecule; the charge is checked against what the input says.
    solvent : str, optional
        ``implicit`` (default), ``vacuum``, ``box`` (what the structure brings, by PME), or with a
        potential the name of its solvent.
    add : collection of str
        ``hydrogens``, ``atoms``, ``caps``: what is missing is added by pdbfixer.
    ph : float
        Of hydrogens that are added.
    model, altloc : optional
        Which of several models (from 1) and alternate locations.
    constraints : str, optional
        ``none`` (default) or ``HBonds`` (default in a box).
    hydrogen_mass, timestep, temperature, friction, pressure, cutoff : optional
        Text with units, or numbers in amu, fs, K, 1/ps, bar and nm. In a box hydrogens have 3 amu
        and the step is 4 fs, otherwise 1 fs, or 2 fs with constraints.
    seed : int
        Of coordinates that are made up.
    recipe : str, optional
        The command that is being run, for the folder's README.

    Returns
    -------
    dict
        ``atoms``, ``residues``, ``bonds``, ``stereocentres``, ``torsions``, ``charge``,
        ``energy`` (kJ/mol), ``seconds_a_step``, ``text`` and more.

    Raises
    ------
    MolflowError
        If the input is not one sound molecule with all that it needs. Nothing is written then.
    """
    given = locals()
    kind = input_kind(given)
    with new_folder(out) as folder:
        implicit = solvent if potential is None else "vacuum"
        found, create = _read(kind, given)
        found, place = settle_box(found, implicit, f"'{Path(str(given[kind])).name}'")
        settings = _settings(given, place)
        entries, files, found = _with_energy(kind, found, create, settings, given)
        name = Path(out).resolve().name
        head = {"name": name, "description": f"{found.n_atoms} atoms, from {found.origin}"}
        if place == "box":
            entries["selections"] = {"solute": _solute(found)}
        entries = head | {"structure": STRUCTURE} | entries
        write_system(folder, found, entries, files, _readme(name, found, recipe))
        system = load_system(folder)
        energy, positions = _checked_energy(system, found)
        _check_charge(found, energy["charge"], charge)
        if found.built:
            write_structure(folder, found, positions)
        if system.forcefield:
            from molflow.md.forcefields import forcefield_digest

            entries["forcefield_sha256"] = forcefield_digest(system)
            (folder / DESCRIPTION).write_text(described(entries), encoding="utf-8")
        system = load_system(folder)
        result = energy | understand(system)
        result["text"] = in_words(system, result, found.notes)
        result["next"] = _next(out, place)
    return result


def _read(kind: str, given: dict) -> tuple[Molecule, parameter_files.Create | None]:
    choices = {name: given[name] for name in ("model", "altloc", "add", "ph")}
    radicals = bool(given["potential"])
    if kind == "molecule" and Path(given["molecule"]).suffix.lower() in _DRAWN:
        check_drawn(given)
        return from_file(
            given["molecule"], add_hydrogens="hydrogens" in given["add"], seed=given["seed"],
            radicals=radicals,
        ), None  # fmt: skip
    if kind == "molecule":
        check_structure_file(Path(given["molecule"]))
        return read_structure(given["molecule"], **choices), None
    if kind == "sequence":
        return build_peptide(given["sequence"]), None
    if kind == "smiles":
        return from_smiles(given["smiles"], given["seed"], radicals), None
    if kind == "system_xml":
        return parameter_files.from_system_xml(given[kind], given["structure"], **choices), None
    if kind == "prmtop":
        return parameter_files.from_amber(given["prmtop"], given["inpcrd"])
    if kind == "psf":
        return parameter_files.from_charmm(given["psf"], given["parameters"], given["structure"])
    return parameter_files.from_gromacs(given["top"], given["gro"], given["include"])


def _settings(given: dict, place: str) -> Settings:
    def quantity(name: str, dimension: str, default: float | None) -> float | None:
        value = given[name]
        return default if value is None else parse_quantity(value, dimension, name)

    boxed = place == "box"
    constraints = given["constraints"] or ("HBonds" if boxed else "none")
    step = given["timestep"]
    if isinstance(step, str):
        try:
            step = float(step)
        except ValueError:
            step = 1e3 * parse_quantity(step, "time", "timestep")
    if step is None:
        step = 4.0 if boxed else 1.0 if constraints == "none" else 2.0
    if not 0 < step <= _LONGEST_STEP:
        raise MolflowError(
            f"timestep is {shown(given['timestep'])}: give a time above 0 and up to "
            f"{_LONGEST_STEP:g}fs; molecules break in longer steps, above 2fs without heavy "
            "hydrogens."
        )
    if given["cutoff"] is not None and not boxed:
        raise MolflowError(f"cutoff is {shown(given['cutoff'])}, which needs a box: leave it out.")
    if constraints not in ("none", "HBonds", "AllBonds", "HAngles"):
        raise MolflowError(f"constraints is '{constraints}': choose none or HBonds.")
    return Settings(
        given["forcefield"] or "amber14", place, constraints,
        quantity("hydrogen_mass", "mass", 3.0 if boxed else None), float(step),
        parse_quantity(given["temperature"], "temperature", "temperature"),
        parse_quantity(given["friction"], "rate", "friction"),
        quantity("pressure", "pressure", None),
        quantity("cutoff", "length", 0.9 if boxed else None),
    )  # fmt: skip


def _with_energy(
    kind: str, found: Molecule, create, settings: Settings, given: dict
) -> tuple[dict, list[Path], Molecule]:
    """Return entries of ``system.yaml``, files to copy, and the molecule with its System."""
    if given["potential"]:
        if kind in ("system_xml", "prmtop", "psf", "top"):
            raise MolflowError(f"{kind} brings its own forces: leave potential out.")
        own = found.charge if given["charge"] is None else given["charge"]
        version = POTENTIALS[given["potential"]].version()
        chosen = {"name": given["potential"], "charge": own or 0}
        if version is not None:
            chosen["version"] = version
        if given["multiplicity"] != 1:
            chosen["multiplicity"] = given["multiplicity"]
        if given["solvent"] not in (None, "vacuum"):
            chosen["solvent"] = given["solvent"]
        return {"potential": chosen} | settings.entries, [], found
    small = found.source is not None
    if small and (given["forcefield"] or "gaff2") in _SMALL:
        solvent = {"implicitSolvent": app.OBC2} if settings.solvent == "implicit" else {}
        found = apply_gaff(found, **solvent, **settings.options)
    elif create is not None:
        found = _created(kind, found, create, settings)
    elif found.system is None:
        check_bonds(found, "the structure")
        names, files = forcefield_files(settings.forcefield, settings.solvent)
        return {"forcefield": names} | settings.forces | settings.entries, files, found
    return {"system_xml": SYSTEM} | settings.entries, [], found


def _created(kind: str, found: Molecule, create, settings: Settings) -> Molecule:
    options = settings.options
    if settings.solvent == "implicit" and kind == "prmtop":
        options["implicitSolvent"] = app.OBC2
        found = found.noted("In implicit solvent (OBC2): give --solvent vacuum for none.")
    elif settings.solvent == "implicit":
        found = found.noted("In vacuum: its parameters bring no implicit solvent.")
    try:
        system = create(**options)
    except Exception as error:  # OpenMM raises whatever parameters are missing
        if isinstance(error, MolflowError):
            raise
        reason = str(error).strip().partition("\n")[0].rstrip(". ") or type(error).__name__
        lacking = "they lack " if isinstance(error, KeyError) else ""
        raise MolflowError(
            f"the parameters do not make a System ({lacking}{reason}): see that the files are "
            "whole."
        ) from error
    return replace(found, system=system)


def _solute(found: Molecule) -> dict:
    atoms = found.solute
    if not atoms:
        raise MolflowError("the box holds water and ions only: there is no solute to learn.")
    ranges, start = [], atoms[0]
    for k, atom in enumerate(atoms):
        if k + 1 == len(atoms) or atoms[k + 1] != atom + 1:
            ranges.append(f"{start}-{atom}" if atom > start else f"{atom}")
            start = atoms[k + 1] if k + 1 < len(atoms) else start
    return {"atoms": ", ".join(ranges), "description": "what is neither water nor ions"}


def _checked_energy(system, found: Molecule):
    try:
        return check_energy(system, found.built)
    except MolflowError as error:
        if found.source is not None and system.forcefield and "cannot be applied" in str(error):
            raise MolflowError(
                f"forcefield is '{', '.join(system.forcefield)}', which does not know this "
                "molecule: "
                "leave it out for GAFF2, or give an OpenMM force-field file (.xml) that has it."
            ) from error
        lacking = next(
            (word for word in ("hydrogens", "atoms") if _LACKING[word] in str(error)), None
        )
        if lacking is None:
            raise
        raise MolflowError(
            f"{str(error).rstrip('.?')}: give --add {lacking} if they are meant to be there. A "
            "molecule that the force field does not know needs its SMILES, SDF or MOL2 file "
            "(GAFF2), or a --forcefield of its own."
        ) from error


def _check_charge(found: Molecule, total: float | None, wanted: int | None) -> None:
    if wanted is not None and found.charge is not None and found.charge != wanted:
        raise MolflowError(
            f"charge is {wanted}, and the molecule as written has {found.charge}: write its "
            "protonation state with that charge."
        )
    if wanted is not None and total is not None and abs(total - wanted) > 0.01:
        raise MolflowError(
            f"charge is {wanted}, and the charges of the force field add up to {total:.3g}: "
            "give the protonation state that is meant."
        )


def _readme(name: str, found: Molecule, recipe: str | None) -> str:
    notes = "".join(f"- {note}\n" for note in found.notes)
    made = f"Made of {found.origin} by molflow {molflow.__version__} with OpenMM " + (
        f"{openmm.__version__}."
    )
    command = f"\n    {recipe}\n" if recipe else ""
    return f"# {name}\n\n{made}\n{command}" + (f"\n{notes}" if notes else "")


def _next(out: str | Path, place: str) -> str:
    # A bare name that is also built in would mean two systems.
    named = f"./{out}" if str(out) in built_in_systems() else f"{out}"
    selected = f"{named}:solute" if place == "box" else named
    named, selected, md, data = map(shlex.quote, (named, selected, f"{out}-md", f"{out}-data"))
    return (
        f"molflow simulate {named} --time 10ns --replicas 6 --out {md}, then "
        f"molflow prepare {md} --system {selected} --out {data}"
    )
