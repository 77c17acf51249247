"""The verb that makes the folder of a system from a molecule."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from molflow.verbs.app import verb


@verb
def init(
    molecule: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Structure: PDB, PDBx/mmCIF, SDF, MOL or MOL2."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the system. Default: the file's name.")
    ] = None,
    sequence: Annotated[
        str | None, typer.Option(help="Peptide: ACE-ALA-ALA-NME, or one-letter codes.")
    ] = None,
    smiles: Annotated[
        str | None, typer.Option(help="Small molecule, with its stereochemistry.")
    ] = None,
    system_xml: Annotated[
        Path | None, typer.Option(help="Serialised OpenMM System; with --structure.")
    ] = None,
    structure: Annotated[
        Path | None, typer.Option(help="PDB of the same atoms, for --system-xml and --psf.")
    ] = None,
    prmtop: Annotated[Path | None, typer.Option(help="AMBER topology; with --inpcrd.")] = None,
    inpcrd: Annotated[Path | None, typer.Option(help="AMBER coordinates (inpcrd, rst7).")] = None,
    psf: Annotated[
        Path | None, typer.Option(help="CHARMM PSF; with --parameters and --structure.")
    ] = None,
    parameters: Annotated[
        list[Path] | None, typer.Option(help="CHARMM parameter file; may be given repeatedly.")
    ] = None,
    top: Annotated[Path | None, typer.Option(help="GROMACS topology; with --gro.")] = None,
    gro: Annotated[Path | None, typer.Option(help="GROMACS coordinates.")] = None,
    include: Annotated[
        Path | None, typer.Option(help="Folder of GROMACS force fields that --top includes.")
    ] = None,
    forcefield: Annotated[
        str | None,
        typer.Option(
            help="amber14 (default), amber19, amber99sbildn, charmm36, or OpenMM force-field files "
            "separated by commas; gaff2 (default) for small molecules."
        ),
    ] = None,
    potential: Annotated[
        str | None, typer.Option(help="In place of a force field: gfn2-xtb, gfn1-xtb, aimnet2 ...")
    ] = None,
    charge: Annotated[int | None, typer.Option(help="Of the whole molecule.")] = None,
    multiplicity: Annotated[int, typer.Option(min=1, help="2S + 1, for --potential.")] = 1,
    solvent: Annotated[
        str | None,
        typer.Option(
            help="implicit (default), vacuum, or box: the periodic box of the file. With "
            "--potential the name of its solvent, such as water."
        ),
    ] = None,
    add: Annotated[
        str,
        typer.Option(
            help="What pdbfixer adds, separated by commas: hydrogens, atoms that residues lack, "
            "caps (ACE and NME)."
        ),
    ] = "",
    ph: Annotated[float, typer.Option(help="Of the hydrogens that are added.")] = 7.0,
    model: Annotated[int | None, typer.Option(help="Which of several models, from 1.")] = None,
    altloc: Annotated[str | None, typer.Option(help="Which of several locations, A.")] = None,
    constraints: Annotated[
        str | None, typer.Option(help="none or HBonds. Default: none; HBonds in a box.")
    ] = None,
    hydrogen_mass: Annotated[
        str | None, typer.Option(help="Such as 3amu, for longer steps. Default: 3amu in a box.")
    ] = None,
    timestep: Annotated[
        str | None,
        typer.Option(help="Such as 2fs. Default: 1fs, 2fs with constraints, 4fs in a box."),
    ] = None,
    temperature: Annotated[str, typer.Option(help="Of the thermostat.")] = "300K",
    friction: Annotated[str, typer.Option(help="Of the thermostat.")] = "1/ps",
    pressure: Annotated[
        str | None, typer.Option(help="Such as 1bar, for a box. Default: constant volume.")
    ] = None,
    cutoff: Annotated[str | None, typer.Option(help="In a box. Default: 0.9nm.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of coordinates that are made up.")] = 0,
) -> None:
    """Make the folder of a system from a molecule, and say what was understood.

    Takes a structure file, or one of --sequence, --smiles, --system-xml, --prmtop, --psf and
    --top. The folder goes wherever a SYSTEM is asked for.

    Example: `molflow init --smiles "CC(=O)Oc1ccccc1C(=O)O" --out my-aspirin`
    """
    from molflow.setup.init import init as run

    given = molecule or system_xml or prmtop or psf or top
    out = out or Path(given.stem if given is not None else "system")
    result = run(
        molecule,
        out,
        sequence=sequence,
        smiles=smiles,
        system_xml=system_xml,
        structure=structure,
        prmtop=prmtop,
        inpcrd=inpcrd,
        psf=psf,
        parameters=tuple(parameters or ()),
        top=top,
        gro=gro,
        include=include,
        forcefield=forcefield,
        potential=potential,
        charge=charge,
        multiplicity=multiplicity,
        solvent=solvent,
        add=tuple(word.strip() for word in add.split(",") if word.strip()),
        ph=ph,
        model=model,
        altloc=altloc,
        constraints=constraints,
        hydrogen_mass=hydrogen_mass,
        timestep=timestep,
        temperature=temperature,
        friction=friction,
        pressure=pressure,
        cutoff=cutoff,
        seed=seed,
        recipe=shlex.join(["molflow", *sys.argv[1:]]),
    )
    typer.echo(result["text"])
    typer.echo(f"System in {out}. Next: {result['next']}")
