import mdtraj
import numpy as np
from synthetic import TOPOLOGY, conformations, torsion_samples

from molflow.analysis.validity import (
    check_validity,
    handedness,
    nonbonded_pairs,
    stereocentres,
)


def sound(n=40, seed=0):
    return conformations(torsion_samples(n, 0.0, seed), sd=0.003, seed=seed)


def test_the_only_stereocentre_is_ca():
    assert stereocentres(TOPOLOGY) == [(8, 6, 9, 10)]


def test_stereocentres_of_a_threonine_like_carbon_and_of_glycine():
    def amino(side):
        topology = mdtraj.Topology()
        residue = topology.add_residue("X", topology.add_chain())
        atoms = {}

        def add(name, element, parent=None):
            atoms[name] = topology.add_atom(name, mdtraj.element.get_by_symbol(element), residue)
            if parent:
                topology.add_bond(atoms[name], atoms[parent])

        add("CA", "C")
        for name, element in (("N", "N"), ("C", "C"), ("HA", "H"), *side[:1]):
            add(name, element, "CA")
        add("O", "O", "C")
        for name, element in side[1:]:
            add(name, element, side[0][0])
        return topology

    assert stereocentres(amino([("HA2", "H")])) == []
    beta = stereocentres(amino([("CB", "C"), ("OG", "O"), ("CG", "C"), ("HB", "H")]))
    assert [centre for centre, *_ in beta] == [0, 4]


def test_real_l_alanine_is_left_handed_by_the_corn_rule():
    # Seen from H, CO-R-N reads clockwise in L amino acids, whatever the file says.
    xyz = sound(1)[0]
    towards = xyz[9] - xyz[8]
    co, r, n = (xyz[i] - xyz[8] for i in (14, 10, 6))
    clockwise = np.dot(np.cross(co, r) + np.cross(r, n) + np.cross(n, co), towards) < 0
    assert clockwise


def test_pairs_are_at_least_four_bonds_apart():
    pairs = {tuple(pair) for pair in nonbonded_pairs(TOPOLOGY)}
    assert (4, 14) not in pairs  # C - N - CA - C: three bonds
    assert (4, 16) in pairs  # four bonds
    assert (0, 21) in pairs


def test_every_defect_is_found_and_counted_once():
    truth = sound(50, seed=1)
    xyz = sound(40, seed=2)
    xyz[0, 5, 2] = np.nan
    xyz[1] *= [-1, 1, 1]
    xyz[2, 0] += 0.06 * (xyz[2, 0] - xyz[2, 1]) / np.linalg.norm(xyz[2, 0] - xyz[2, 1])
    xyz[3, 18:] += xyz[3, 1] - xyz[3, 18] + [0.0, 0.0, 0.05]
    found = check_validity(xyz, truth, TOPOLOGY, stereocentres(TOPOLOGY))
    counts = found.counts()
    assert counts["samples"] == 40 and counts["not_finite"] == 1 and counts["wrong_hand"] == 1
    assert counts["clash"] == 1 and not found.clashes[3]
    assert counts["broken_bond"] == 2 and not found.bonds[2]  # moving NME breaks its bond too
    assert np.flatnonzero(~found.valid).tolist() == [0, 1, 2, 3]


def test_hand_of_a_mirror_image():
    xyz = sound(5)
    centres = stereocentres(TOPOLOGY)
    assert np.array_equal(handedness(xyz * [1, -1, 1], centres), -handedness(xyz, centres))


def test_five_beads_see_no_hand():
    atoms = [4, 6, 8, 14, 16]
    xyz = sound(10)[:, atoms]
    found = check_validity(xyz, xyz, TOPOLOGY.subset(atoms), [])
    assert found.counts()["wrong_hand"] is None and found.valid.all()
