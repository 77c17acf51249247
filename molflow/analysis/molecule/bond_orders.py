"""Molecules with bond orders, as rdkit has them, from a topology."""

from __future__ import annotations

from pathlib import Path

import mdtraj

from molflow.errors import MolflowError


def rdkit():
    """Return `rdkit.Chem`, quiet.

    Raises
    ------
    MolflowError
        If rdkit is not installed.
    """
    try:
        from rdkit import Chem, rdBase
    except ImportError as error:
        raise MolflowError(
            "conformers need the package rdkit, which is not installed: "
            "pip install molflow[molecules]."
        ) from error
    rdBase.DisableLog("rdApp.*")
    return Chem


def drawn_molecule(source: str | Path):
    """Return the molecule of an SDF, MOL or MOL2 file, or of a SMILES, with all hydrogens.

    Raises
    ------
    MolflowError
        If it cannot be read.
    """
    Chem, found = rdkit(), None
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in (".sdf", ".mol", ".mol2"):
        if not path.is_file():
            raise MolflowError(f"molecule is '{path}', which is not there: check its path.")
        read = Chem.MolFromMol2Block if suffix == ".mol2" else Chem.MolFromMolBlock
        found = read(path.read_text(encoding="utf-8", errors="replace"), removeHs=False)
    elif str(source).strip():
        found = Chem.MolFromSmiles(str(source))
    if found is None:
        raise MolflowError(
            f"molecule is '{source}', which cannot be read: give a SMILES, SDF, MOL or MOL2."
        )
    return Chem.AddHs(found)


def with_bond_orders(topology: mdtraj.Topology, molecule=None, charge: int = 0):
    """Return the molecule of a topology with bond orders, atoms in the topology's order.

    Parameters
    ----------
    topology : mdtraj.Topology
        All atoms, hydrogens included, with bonds.
    molecule : rdkit.Chem.Mol, optional
        The same molecule with bond orders, its atoms in any order. By default they are found from
        valences (`rdkit.Chem.rdDetermineBonds`).
    charge : int
        Of the whole molecule, where bond orders are found.

    Returns
    -------
    rdkit.Chem.Mol
        Without conformers.

    Raises
    ------
    MolflowError
        If the two are not the same molecule, or no bond orders fit.
    """
    Chem = rdkit()
    from rdkit.Chem import AllChem, rdDetermineBonds

    bare = Chem.RWMol()
    for atom in topology.atoms:
        if atom.element is None or not atom.element.atomic_number:
            raise MolflowError(f"{atom} is no atom with an element: conformers are of molecules.")
        made = Chem.Atom(atom.element.atomic_number)
        made.SetNoImplicit(True)
        bare.AddAtom(made)
    for a, b in topology.bonds:
        bare.AddBond(a.index, b.index, Chem.BondType.SINGLE)
    if molecule is None:
        try:
            rdDetermineBonds.DetermineBondOrders(bare, charge=charge, embedChiral=False)
            Chem.SanitizeMol(bare)
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise MolflowError(
                f"no bond orders fit {topology.n_atoms} atoms of charge {charge} ({reason}): give "
                "the molecule as SMILES or SDF (--molecule), and an ensemble with all atoms."
            ) from error
        return bare.GetMol()
    try:
        return AllChem.AssignBondOrdersFromTemplate(molecule, bare.GetMol())
    except ValueError as error:
        raise MolflowError(
            f"the molecule that is given ({Chem.MolToSmiles(Chem.RemoveHs(molecule))}) is not that "
            f"of the ensemble, which has {topology.n_atoms} atoms: give the same, with all atoms."
        ) from error
