import mdtraj
import numpy as np
import pytest
from molecules import chain, zigzag
from synthetic import TOPOLOGY

from molflow.analysis.molecule.graph import rings, with_bonds
from molflow.analysis.torsion_list import backbone_pairs, measure_torsions, torsion_list
from molflow.analysis.torsion_wells import well_edges, well_middles, well_shares

SIDE_CHAINS = {
    "ALA": ["CB"],
    "LEU": ["CB", "CG", "CD1", "CD2"],
    "LYS": ["CB", "CG", "CD", "CE", "NZ"],
    "GLY": [],
    "CYS": ["CB", "SG"],
    "ARG": ["CB", "CG", "CD", "NE", "CZ", "NH1", "NH2"],
}


def peptide(sequence):
    """Return heavy atoms of a peptide without caps, with standard bonds."""
    topology = mdtraj.Topology()
    chain_ = topology.add_chain()
    for number, name in enumerate(sequence, start=1):
        residue = topology.add_residue(name, chain_, resSeq=number)
        for atom in ["N", "CA", "C", "O", *SIDE_CHAINS[name]]:
            topology.add_atom(atom, mdtraj.element.get_by_symbol(atom[0]), residue)
    topology.create_standard_bonds()
    return topology


def named(topology, torsion):
    return [topology.atom(i).name for i in torsion.atoms]


def test_backbone_and_side_chains_of_a_peptide():
    topology = peptide(["ALA", "LEU", "LYS", "GLY"])
    found = {torsion.name: torsion for torsion in torsion_list(topology)}
    assert sorted(found) == sorted(
        [f"phi {r}" for r in ("LEU2", "LYS3", "GLY4")]
        + [f"psi {r}" for r in ("ALA1", "LEU2", "LYS3")]
        + ["chi1 LEU2", "chi2 LEU2", "chi1 LYS3", "chi2 LYS3", "chi3 LYS3", "chi4 LYS3"]
    )
    assert named(topology, found["phi LEU2"]) == ["C", "N", "CA", "C"]
    assert found["phi LEU2"].residue == found["psi LEU2"].residue == 1
    assert named(topology, found["psi LEU2"]) == ["N", "CA", "C", "N"]
    assert named(topology, found["chi4 LYS3"]) == ["CG", "CD", "CE", "NZ"]
    order = torsion_list(topology)
    pairs = [(order[i].name, order[j].name) for i, j in backbone_pairs(order)]
    assert pairs == [("phi LEU2", "psi LEU2"), ("phi LYS3", "psi LYS3")]


def test_the_dipeptide_has_phi_and_psi_and_nothing_else():
    found = torsion_list(TOPOLOGY)
    assert [(t.name, t.atoms) for t in found] == [
        ("phi", (4, 6, 8, 14)), ("psi", (6, 8, 14, 16)),
    ]  # fmt: skip


def test_arginine_has_five():
    found = torsion_list(peptide(["GLY", "ARG", "GLY"]))
    assert [t.kind for t in found if t.kind.startswith("chi")] == [f"chi{k}" for k in range(1, 6)]


def test_a_ligand_beside_a_peptide_has_its_rotatable_bonds():
    topology = peptide(["ALA", "ALA"])
    both = topology.join(chain("CCCC"))
    assert [t.name for t in torsion_list(both)] == ["phi ALA2", "psi ALA1", "C1-C2-C3-C4 LIG1"]


def test_rotatable_bonds_leave_out_ends_rings_amides_and_double_bonds():
    # Toluene-like ring with an ethyl group: only ring-CH2 turns; CH2-CH3 has no heavy atom beyond.
    bonds = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (0, 6), (6, 7), (7, 8), (7, 9)]
    ethyl = chain("CCCCCCCCHH", bonds=bonds)
    assert [t.atoms[1:3] for t in torsion_list(ethyl)] == [(0, 6)]
    assert [len(ring) for ring in rings(ethyl)] == [6]
    # CH3-CH2-C(=O)-NH-CH2-CH3: the amide C-N does not turn, its neighbours do.
    amide = chain("CCCONCC", bonds=[(0, 1), (1, 2), (2, 3), (2, 4), (4, 5), (5, 6)])
    assert [t.atoms[1:3] for t in torsion_list(amide)] == [(1, 2), (4, 5)]
    ene = chain("CCCC", bonds=[(0, 1), (2, 3)])
    atoms = list(ene.atoms)
    ene.add_bond(atoms[1], atoms[2], type=mdtraj.core.topology.Double, order=2)
    assert torsion_list(ene) == []


def test_measured_angles_are_those_that_were_built_in():
    wanted = np.random.default_rng(0).uniform(-np.pi, np.pi, size=(50, 3))
    xyz = zigzag(wanted, sd=0.0)
    xyz[7, 2] = np.nan
    found = measure_torsions(xyz, torsion_list(chain("CCCCCC")))
    assert np.isnan(found[7]).any() and found.dtype == np.float32
    difference = np.delete(found - wanted, 7, axis=0)
    assert np.abs(np.angle(np.exp(1j * difference))).max() < 2e-4
    assert measure_torsions(xyz, []).shape == (50, 0)


def test_bonds_are_guessed_where_a_file_has_none():
    bare = TOPOLOGY.copy()
    bare._bonds = []
    from synthetic import SYSTEM

    guessed = with_bonds(bare, SYSTEM.start_positions())
    assert {frozenset((a.index, b.index)) for a, b in guessed.bonds} == {
        frozenset((a.index, b.index)) for a, b in TOPOLOGY.bonds
    }
    assert with_bonds(TOPOLOGY, SYSTEM.start_positions()) is TOPOLOGY


def test_wells_of_three_known_states():
    rng = np.random.default_rng(0)
    centres, share = np.radians([-65.0, 65.0, 180.0]), [0.3, 0.2, 0.5]
    angles = rng.choice(centres, size=60_000, p=share) + rng.normal(scale=0.2, size=60_000)
    angles = np.angle(np.exp(1j * angles))
    edges = well_edges(angles)
    assert len(edges) == 3
    found = dict(zip(well_middles(edges).round(-1) % 360, well_shares(angles, edges), strict=True))
    for centre, expected in zip((300, 60, 180), share, strict=True):
        (here,) = [v for k, v in found.items() if abs((k - centre + 180) % 360 - 180) <= 15]
        assert here == pytest.approx(expected, abs=0.01)
    # Two bumps parted by less than 1 kT are one well; noise makes none.
    close = np.r_[rng.normal(-0.25, 0.3, 30_000), rng.normal(0.25, 0.3, 30_000)]
    assert len(well_edges(close)) == 0
    assert len(well_edges(rng.uniform(-np.pi, np.pi, 20_000))) == 0
    assert well_shares(close, well_edges(close)).tolist() == [1.0]


def test_omega_is_listed_before_proline_only():
    from molflow.systems import load_system

    for name, kinds in (("proline_dipeptide", ["phi", "psi", "chi1", "chi2", "omega"]),
                        ("alanine_dipeptide", ["phi", "psi"])):  # fmt: skip
        system = load_system(name)
        found = torsion_list(system.topology())
        assert [t.kind for t in found] == kinds
    system = load_system("proline_dipeptide")
    omega = torsion_list(system.topology())[-1]
    assert named(system.topology(), omega) == ["CH3", "C", "N", "CA"] and omega.name == "omega PRO2"
    angle = measure_torsions(system.start_positions()[None], [omega])[0, 0]
    assert abs(angle) > np.radians(160)  # trans


def test_a_ring_that_puckers_has_torsions_and_a_flat_one_has_none():
    """Tetrahydrofuran with hydrogens, and benzene."""
    names = [f"C{k}" for k in range(4)] + ["O4"] + [f"H{k}" for k in range(8)]
    bonds = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)] + [(k // 2, 5 + k) for k in range(8)]
    thf = chain("CCCCO" + "H" * 8, names, bonds)
    found = torsion_list(thf)
    assert [t.kind for t in found] == ["ring"] * 5
    assert {frozenset(t.atoms[1:3]) for t in found} == {frozenset(b) for b in bonds[:5]}
    ring = [(k, (k + 1) % 6) for k in range(6)] + [(k, 6 + k) for k in range(6)]
    assert torsion_list(chain("C" * 6 + "H" * 6, bonds=ring)) == []


def test_a_disulfide_has_three_torsions():
    topology = peptide(["GLY", "CYS", "GLY", "CYS", "GLY"])
    sulfurs = [atom for atom in topology.atoms if atom.name == "SG"]
    before = torsion_list(topology)
    topology.add_bond(*sulfurs)
    added = [t for t in torsion_list(topology) if t not in before]
    assert [t.kind for t in added] == ["disulfide"] * 3
    assert named(topology, added[1]) == ["CB", "SG", "SG", "CB"]
