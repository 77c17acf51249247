"""Parts of a turn that exchange equal atoms, beside automorphisms and exchanged positions."""

import mdtraj
import numpy as np
import pytest
from rdkit import Chem

import molflow
from molflow.analysis.molecule.local_symmetry import symmetry_numbers
from molflow.analysis.torsion_list import measure_torsions, torsion_list
from molflow.md.flattening import parse_flatten
from molflow.systems import load_system

MOLECULES = {
    "c1ccccc1CCC": {2, 1}, "FC(F)(F)CCl": {3}, "CC(C)(C)CCl": {3}, "CC(C)CCl": {1},
    "Clc1ccc(CCl)cc1": {2}, "Clc1cccc(CCl)c1": {1}, "ClC[N+](=O)[O-]": {2}, "ClCC(=O)[O-]": {2},
    "ClCC(=O)O": {1}, "c1ccccc1-c1ccccc1": {2}, "FC(F)(F)c1ccccc1": {6}, "CN(C)CCl": {1},
    "ClCS(=O)(=O)[O-]": {3}, "Cc1cccc(C)c1CCl": {2}, "ClCC(=C)C": {1}, "ClCC1CCNCC1": {1},
}  # fmt: skip


def drawn(smiles):
    """Return a molecule with hydrogens as rdkit's and as a topology."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    topology = mdtraj.Topology()
    residue = topology.add_residue("LIG", topology.add_chain())
    atoms = [
        topology.add_atom(
            f"{a.GetSymbol()}{a.GetIdx()}", mdtraj.element.get_by_symbol(a.GetSymbol()), residue
        )
        for a in molecule.GetAtoms()
    ]
    for bond in molecule.GetBonds():
        topology.add_bond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()])
    return molecule, topology


def by_automorphisms(smiles, b, c):
    """Return the order of the exchanges at c that leave the rest alone, by all automorphisms."""
    molecule = Chem.RWMol(Chem.MolFromSmiles(smiles))
    planar = molecule.GetAtomWithIdx(c).GetHybridization() == Chem.HybridizationType.SP2
    hydrogens = [atom.GetTotalNumHs() for atom in molecule.GetAtoms()]
    for atom, count in zip(molecule.GetAtoms(), hydrogens, strict=True):
        atom.SetIsotope(count)
        atom.SetFormalCharge(0)
        atom.SetIsAromatic(False)
        atom.SetNoImplicit(True)
    for bond in molecule.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
        bond.SetIsAromatic(False)
    around = {a.GetIdx(): [n.GetIdx() for n in a.GetNeighbors()] for a in molecule.GetAtoms()}
    side, ahead = {b, c}, [c]
    while ahead:
        for j in around[ahead.pop()]:
            if j not in side:
                side.add(j)
                ahead.append(j)
    rest = (set(around) - side) | {b, c}
    others = [j for j in around[c] if j != b]
    moved = {
        tuple(found[j] for j in others)
        for found in molecule.GetSubstructMatches(molecule, uniquify=False, maxMatches=10**5)
        if all(found[i] == i for i in rest)
    }
    if hydrogens[c]:
        return 1
    if len(others) == 3 and (*others[1:], others[0]) in moved:
        return 3
    return 2 if len(others) == 2 and planar and tuple(others[::-1]) in moved else 1


@pytest.mark.parametrize("smiles", MOLECULES)
def test_they_are_what_automorphisms_allow(smiles):
    molecule, topology = drawn(smiles)
    axes = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        for bond in molecule.GetBonds()
        if not bond.IsInRing()
        and min(
            sum(n.GetAtomicNum() > 1 for n in atom.GetNeighbors())
            for atom in (bond.GetBeginAtom(), bond.GetEndAtom())
        ) > 1
    ]  # fmt: skip
    found = symmetry_numbers(topology, axes)
    assert set(found) >= MOLECULES[smiles]
    for (b, c), number in zip(axes, found, strict=True):
        assert number == np.lcm(by_automorphisms(smiles, b, c), by_automorphisms(smiles, c, b))


def test_exchanged_numbers_of_equal_atoms_change_no_torsion(tmp_path):
    molflow.init(sequence="ACE-PHE-LEU-ASP-NME", out=tmp_path / "peptide")
    system = load_system(tmp_path / "peptide")
    topology, rng = system.topology(), np.random.default_rng(0)
    x = system.start_positions() + 0.002 * rng.standard_normal((20, topology.n_atoms, 3))
    found = torsion_list(topology)
    assert [t.name for t in found if t.symmetry > 1] == ["2 × chi2 PHE2", "2 × chi2 ASP4"]

    def exchanged(residue, *pairs):
        place = {a.name: a.index for a in topology.atoms if a.residue.name == residue}
        other = np.arange(topology.n_atoms)
        for a, b in pairs:
            other[[place[a], place[b]]] = other[[place[b], place[a]]]
        return x[:, other]

    ring = exchanged("PHE", ("CD1", "CD2"), ("CE1", "CE2"), ("HD1", "HD2"), ("HE1", "HE2"))
    both = ring.copy()
    both[:] = exchanged("ASP", ("OD1", "OD2"))
    here = measure_torsions(x, found)
    for same in (ring, both):
        apart = measure_torsions(same, found) - here
        # Not to all digits: the noise bends planes by some degrees.
        assert np.abs(np.angle(np.exp(1j * apart))).max() < 0.35
    plain = mdtraj.compute_dihedrals(mdtraj.Trajectory(ring, None), [
        t.atoms for t in found if t.name.endswith("chi2 PHE2")
    ])  # fmt: skip
    before = mdtraj.compute_dihedrals(mdtraj.Trajectory(x, None), [
        t.atoms for t in found if t.name.endswith("chi2 PHE2")
    ])  # fmt: skip
    assert np.abs(np.angle(np.exp(1j * (plain - before)))).min() > 2.5
    leucine = exchanged("LEU", ("CD1", "CD2"))
    apart = measure_torsions(leucine, found) - here
    column = [t.name for t in found].index("chi2 LEU3")
    assert np.abs(np.angle(np.exp(1j * apart[:, column]))).min() > 1.0
    # A bias acts on the angle itself, and carries its name.
    assert found[[t.name for t in found].index("2 × chi2 PHE2")].of_angle == "chi2 PHE2"
    assert parse_flatten(system, "chi2:1")[0][0] == next(
        t.atoms for t in found if t.of_angle == "chi2 PHE2"
    )


def test_without_hydrogens_no_centre_is_taken_for_planar():
    topology = load_system("chignolin").topology()
    heavy = topology.subset([a.index for a in topology.atoms if a.element.symbol != "H"])
    assert sum(t.symmetry > 1 for t in torsion_list(topology)) == 3
    assert all(t.symmetry == 1 for t in torsion_list(heavy))
