import mdtraj
import numpy as np
import pytest
from synthetic import TOPOLOGY, conformations, torsion_samples

from molflow.analysis.molecule.limits import bonded_pairs, limits_of
from molflow.analysis.molecule.stereo import handedness, stereocentres
from molflow.analysis.molecule.validity import Validity, check_validity


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
    held = {divmod(pair, 22) for pair in bonded_pairs(TOPOLOGY).tolist()}
    assert (4, 14) in held  # C - N - CA - C: three bonds
    assert (4, 16) not in held  # four bonds
    assert (0, 21) not in held


def test_every_defect_is_found_and_counted_once():
    truth = sound(50, seed=1)
    xyz = sound(40, seed=2)
    xyz[0, 5, 2] = np.nan
    xyz[1] *= [-1, 1, 1]
    xyz[2, 0] += 0.06 * (xyz[2, 0] - xyz[2, 1]) / np.linalg.norm(xyz[2, 0] - xyz[2, 1])
    xyz[3, 18:] += xyz[3, 1] - xyz[3, 18] + [0.0, 0.0, 0.05]
    found = check_validity(xyz, limits_of(truth, TOPOLOGY, stereocentres(TOPOLOGY)))
    counts = found.counts()
    assert counts["samples"] == 40 and counts["not_finite"] == 1 and counts["wrong_hand"] == 1
    assert counts["clash"] == 1 and not found.passed["clashes"][3]
    # moving NME breaks its bond too
    assert counts["broken_bond"] == 2 and not found.passed["bonds"][2]
    assert np.flatnonzero(~found.valid).tolist() == [0, 1, 2, 3]


def test_hand_of_a_mirror_image():
    xyz = sound(5)
    centres = stereocentres(TOPOLOGY)
    assert np.array_equal(handedness(xyz * [1, -1, 1], centres), -handedness(xyz, centres))


def test_five_beads_see_no_hand():
    atoms = [4, 6, 8, 14, 16]
    xyz = sound(10)[:, atoms]
    found = check_validity(xyz, limits_of(xyz, TOPOLOGY.subset(atoms), []))
    assert found.counts()["wrong_hand"] is None and found.valid.all()


def limits(truth, topology=TOPOLOGY):
    return limits_of(truth, topology, stereocentres(topology))


def test_perfect_samples_pass_every_test():
    found = check_validity(sound(4000, seed=3), limits(sound(500, seed=4)))
    assert found.strictly_valid.all() and not found.findings
    assert found.counts()["bad_ring"] is None  # no ring, nothing to judge


def test_turned_and_bent_peptide_bonds_are_found_where_they_are():
    from synthetic import rotate

    truth, xyz = sound(200, seed=1), sound(5, seed=2)
    turned = rotate(xyz, (4, 6), [8, 7, *range(9, 22)], np.array([np.pi, 0.9, 0, 0, 0]))
    found = check_validity(turned, limits(truth))
    assert found.valid[[0, 2, 3, 4]].all()  # cis clashes with nothing here
    assert np.flatnonzero(~found.passed["planarity"]).tolist() == [0, 1]
    first = [f for f in found.findings if f.test == "planarity"]
    assert first[0].where == "1:CH3 – 1:C – 2:N – 2:CA"
    assert abs(abs(first[0].value) - np.pi) < 0.2 and first[0].unit == "rad"


def test_where_the_reference_has_cis_and_trans_both_are_planar():
    from synthetic import rotate

    turn = np.where(np.arange(300) % 3 == 0, np.pi, 0.0)
    truth = rotate(sound(300, seed=1), (4, 6), [8, 7, *range(9, 22)], turn)
    xyz = rotate(sound(3, seed=2), (4, 6), [8, 7, *range(9, 22)], np.array([np.pi, 0.0, np.pi / 2]))
    assert check_validity(xyz, limits(truth)).passed["planarity"].tolist() == [True, True, False]


def test_a_bent_angle_is_told_with_value_and_limits():
    truth, xyz = sound(200, seed=1), sound(2, seed=2)
    a, b = 6, 14  # the ends of N - CA - C
    xyz[0, b:] += 0.09 * (xyz[0, a] - xyz[0, b]) / np.linalg.norm(xyz[0, a] - xyz[0, b])
    found = check_validity(xyz, limits(truth))
    assert not found.passed["angles"][0] and found.passed["angles"][1]
    finding = next(f for f in found.findings if f.test == "angles")
    assert finding.sample == 0 and not finding.low <= finding.value <= finding.high
    assert found.counts()["strictly_valid"] == 1


def benzene(n, seed, buckle=0.0):
    rng = np.random.default_rng(seed)
    angle = np.radians(60.0 * np.arange(6))
    flat = 0.139 * np.stack([np.cos(angle), np.sin(angle), np.zeros(6)], axis=1)
    flat[:, 2] += buckle * (-1.0) ** np.arange(6)
    probe = np.array([[0.0, 0.0, 0.40], [0.0, 0.0, 0.55]])  # a bond above the middle of the ring
    xyz = np.repeat(np.concatenate([flat, probe])[None], n, axis=0)
    return xyz + rng.normal(scale=0.002, size=xyz.shape)


def test_rings_out_of_shape_and_bonds_through_rings():
    from molecules import chain

    from molflow.analysis.molecule.ring_shape import flatness

    topology = chain("CCCCCCCC", bonds=[*[(i, (i + 1) % 6) for i in range(6)], (6, 7)])
    truth, xyz = benzene(300, 1), benzene(3, 2)
    xyz[1] = benzene(1, 3, buckle=0.02)[0]
    xyz[2, 6:, 2] -= 0.47  # the bond now passes through the ring
    buckled = flatness(benzene(1, 0, 0.02)[:, :6], tuple(range(6)))
    assert buckled[0] == pytest.approx(0.02, abs=0.002)
    found = check_validity(xyz, limits_of(truth, topology, []))
    assert found.passed["rings"].tolist() == [True, False, True]
    assert found.passed["threading"].tolist() == [True, True, False]
    told = next(f for f in found.findings if f.test == "threading")
    assert told.sample == 2 and told.where.startswith("1:C7 – 1:C8 through 1:C")
    beside = benzene(1, 4)
    beside[:, 6:, 2] -= 0.47
    beside[:, 6:, 0] += 0.2  # through the plane, outside the ring
    assert check_validity(beside, limits_of(truth, topology, [])).passed["threading"].all()


def test_threading_is_a_winding_number():
    # Independent answer: the segment meets the ring's plane in a point inside the hexagon.
    from matplotlib.path import Path

    from molflow.analysis.molecule.ring_shape import threaded

    rng = np.random.default_rng(5)
    ring = benzene(1, 0)[0, :6] * [1, 1, 0]
    ends = rng.uniform(-0.2, 0.2, size=(500, 2, 3))
    t = ends[:, 0, 2] / (ends[:, 0, 2] - ends[:, 1, 2])
    meet = ends[:, 0] + t[:, None] * (ends[:, 1] - ends[:, 0])
    exact = (t >= 0) & (t <= 1) & Path(ring[:, :2]).contains_points(meet[:, :2])
    xyz = np.concatenate([np.repeat(ring[None], 500, axis=0), ends], axis=1)
    assert np.array_equal(threaded(xyz, tuple(range(6)), (6, 7)), exact) and exact.sum() > 50


def test_parts_are_joined_with_samples_numbered_through():
    truth, xyz = sound(100, seed=1), sound(30, seed=2)
    xyz[[4, 25]] *= [-1, 1, 1]
    xyz[12] = np.nan
    here = limits(truth)
    whole = check_validity(xyz, here)
    parts = Validity.joined([check_validity(part, here) for part in np.array_split(xyz, 4)])
    assert whole.counts() == parts.counts() and whole.findings == parts.findings
    assert [f.sample for f in parts.findings if f.test == "stereo"] == [4, 25]
