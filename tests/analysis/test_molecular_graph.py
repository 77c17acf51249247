"""What is judged follows the bonds of the molecule: rings of peptides, gaps, ligands, chains."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from molflow.analysis.molecule.graph import with_bonds
from molflow.analysis.torsion_list import residue_labels, torsion_list
from molflow.comparison import compare
from molflow.errors import MolflowError

CASES = Path(__file__).parent.parent / "data" / "cases"


def judged(case, ensemble, against, top=None, reference_top=None):
    folder = CASES / case
    tops = {"top": top, "reference_top": reference_top}
    return compare(
        folder / ensemble, folder / against, exact_transport=False, jobs=1,
        **{name: None if path is None else folder / path for name, path in tops.items()},
    )  # fmt: skip


def checks(result):
    return {check["aspect"]: check for check in result["verdict"]["checks"]}


def test_a_cyclic_peptide_has_all_its_torsions():
    result = judged("cyclic-peptide", "a.xtc", "b.xtc")
    names = [row["name"] for row in result["observables"]["torsions"]]
    expected = [f"{kind} GLY{k}" for kind in ("phi", "psi") for k in range(1, 7)]
    assert sorted(names) == sorted(expected)
    assert list(result["observables"]["residues"]) == [f"GLY{k}" for k in range(1, 7)]


def test_no_torsion_passes_through_a_gap_between_chains():
    result = judged("prmtop-two-chains", "a.xtc", "b.xtc", "dimer.prmtop", "dimer.prmtop")
    kinds = [row["name"].split()[0] for row in result["observables"]["torsions"]]
    assert kinds.count("phi") == kinds.count("psi") == 2
    assert result["observables"]["residues"] == {} and "Basins" not in checks(result)


def test_a_ligand_without_bonds_in_its_file_is_judged():
    result = judged("ligand-without-conect", "broken.xtc", "md.xtc")
    assert result["validity"]["broken_bond"] == result["n"]
    assert "C1-C2-C3-C4 LIG4 near" in checks(result)["Torsions"]["sentence"]


def test_bonds_are_completed_only_where_there_are_none():
    folder = CASES / "ligand-without-conect"
    first = mdtraj.load_frame(str(folder / "md.xtc"), 0, top=str(folder / "topology.pdb"))
    ligand = {a.index for a in first.topology.atoms if a.residue.name == "LIG"}
    made = with_bonds(first.topology, first.xyz[0])
    new = {(a.index, b.index) for a, b in made.bonds} - {
        (a.index, b.index) for a, b in first.topology.bonds
    }
    assert len(new) == 5 and all(set(pair) <= ligand for pair in new)
    assert with_bonds(made, first.xyz[0]) is made
    # An ion a bond's length away from the molecule stays alone.
    ion = mdtraj.Topology()
    ion.add_atom("NA", mdtraj.element.sodium, ion.add_residue("NA", ion.add_chain()))
    both = made.join(ion)
    positions = np.concatenate([first.xyz[0], first.xyz[0][:1] + 0.14])
    assert with_bonds(both, positions).n_bonds == made.n_bonds


def test_every_rotatable_bond_of_a_modified_residue_is_judged():
    result = judged("modified-residue", "trans.xtc", "md.xtc")
    sentence = checks(result)["Torsions"]["sentence"]
    assert "CA-CB-SG-CS SMC2 near -62°" in sentence and "near 65°" in sentence
    assert checks(result)["Torsions"]["level"] == "bad"


def test_disulfides_are_among_the_torsions():
    topology = mdtraj.Topology()
    atoms = {}
    for chain in "AB":
        made = topology.add_chain()
        residue = topology.add_residue("CYS", made, resSeq=5)
        for name in ("N", "CA", "C", "O", "CB", "SG"):
            element = mdtraj.element.get_by_symbol(name[0])
            atoms[chain, name] = topology.add_atom(name, element, residue)
    topology.create_standard_bonds()
    topology.add_bond(atoms["A", "SG"], atoms["B", "SG"])
    ends = "CYS5 of chain 1-CYS5 of chain 2"
    names = [torsion.name for torsion in torsion_list(topology)]
    bridge = [f"{word} {ends}" for word in ("CB-SG", "SG-SG", "SG-CB")]
    assert names == ["chi1 CYS5 of chain 1", "chi1 CYS5 of chain 2", *bridge]
    assert residue_labels(topology) == ["CYS5 of chain 1", "CYS5 of chain 2"]


def test_residues_of_one_name_in_two_chains_are_told_apart():
    result = judged("homodimer-labels", "a-wrong.xtc", "dimer.xtc")
    assert list(result["observables"]["residues"]) == ["ALA2 of chain A", "ALA2 of chain B"]
    sentence = checks(result)["Basins"]["sentence"]
    assert "αR of ALA2 of chain A (0.00%" in sentence and "chain B" not in sentence
    assert "psi ALA2 of chain A" in checks(result)["Torsions"]["sentence"]


def test_atoms_without_a_bond_among_them_are_refused():
    with pytest.raises(MolflowError, match=r"6 atoms \(CA\) have no bond among them"):
        judged("ca-only", "ca.xtc", "md.xtc", "ca.pdb", "md.pdb")


def test_a_log_of_another_program_beside_the_ensemble_is_noted():
    result = judged("foreign-json", "run.xtc", "md.xtc")
    assert any("run.json beside the ensemble belongs to another" in n for n in result["notes"])
