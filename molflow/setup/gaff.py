"""GAFF2 with AM1-BCC charges for a small molecule, by antechamber, parmchk2 and tleap."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import openmm
from openmm import app, unit

from molflow.errors import MolflowError
from molflow.setup.ambertools import run_ambertools, telling_line
from molflow.setup.molecule import Molecule
from molflow.setup.small_molecules import RESIDUE

_ELEMENTS = {"H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I"}


def apply_gaff(molecule: Molecule, **options) -> Molecule:
    """Return the molecule with a System under GAFF2.

    Parameters
    ----------
    molecule : Molecule
        From `molflow.setup.small_molecules`.
    options
        Of `openmm.app.AmberPrmtopFile.createSystem`: implicit solvent, constraints ...

    Raises
    ------
    MolflowError
        If an element is not covered, charges cannot be computed or parameters are missing.
    """
    symbols = {atom.element.symbol for atom in molecule.topology.atoms()}
    if symbols - _ELEMENTS:
        raise MolflowError(
            f"GAFF2 has no parameters for {', '.join(sorted(symbols - _ELEMENTS))}: take a "
            "potential instead, such as --potential gfn2-xtb."
        )
    from rdkit import Chem

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Chem.MolToMolFile(molecule.source, str(folder / "in.sdf"))
        output = run_ambertools("antechamber", [
            "-i", "in.sdf", "-fi", "mdl", "-o", "out.mol2", "-fo", "mol2", "-c", "bcc",
            "-nc", str(molecule.charge), "-at", "gaff2", "-rn", RESIDUE, "-pf", "y", "-dr", "no",
        ], folder)  # fmt: skip
        if not (folder / "out.mol2").is_file():
            raise MolflowError(f"antechamber found no charges: {telling_line(output)}.")
        run_ambertools(
            "parmchk2", ["-i", "out.mol2", "-f", "mol2", "-o", "out.frcmod", "-s", "gaff2"], folder
        )
        missing = re.findall(
            r"^.*ATTN, need revision.*$", (folder / "out.frcmod").read_text(), re.MULTILINE
        )
        if missing:
            raise MolflowError(
                f"GAFF2 has no parameters for {' '.join(missing[0].split()[:1])} of this molecule "
                "and none like them: give parameters of your own, or a potential."
            )
        (folder / "leap.in").write_text(
            "source leaprc.gaff2\nloadamberparams out.frcmod\nmade = loadmol2 out.mol2\n"
            "set default PBRadii mbondi2\nsaveamberparm made out.prmtop out.inpcrd\nquit\n"
        )
        output = run_ambertools("tleap", ["-f", "leap.in"], folder)
        if not (folder / "out.prmtop").is_file():
            raise MolflowError(f"tleap made no parameters: {telling_line(output)}.")
        prmtop = app.AmberPrmtopFile(str(folder / "out.prmtop"))
        system = prmtop.createSystem(**options)
    expected = [atom.element for atom in molecule.topology.atoms()]
    if [atom.element for atom in prmtop.topology.atoms()] != expected:
        raise MolflowError("antechamber changed the order of atoms: give another input format.")
    spread_charge(system, molecule.charge or 0)
    return replace(molecule, system=system)


def spread_charge(system: openmm.System, charge: int) -> None:
    """Make charges that are rounded to 1e-6 add up to the whole charge of the molecule."""
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            rows = [force.getParticleParameters(k) for k in range(force.getNumParticles())]
            total = sum(row[0].value_in_unit(unit.elementary_charge) for row in rows)
            shift = (charge - total) / len(rows) * unit.elementary_charge
            if abs(charge - total) < 0.05:
                for k, (q, sigma, epsilon) in enumerate(rows):
                    force.setParticleParameters(k, q + shift, sigma, epsilon)
