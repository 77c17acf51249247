"""Clashes are found among near atoms alone, and are those among all pairs."""

import mdtraj
import numpy as np
import pytest

from molflow.analysis.molecule.limits import CLASH_DISTANCE, bonded_pairs, limits_of, near_pairs
from molflow.analysis.molecule.stereo import stereocentres
from molflow.analysis.molecule.validity import check_validity
from molflow.maps.denoiser.validation import spread_pairs
from molflow.systems import load_system

SYSTEM = load_system("alanine_dipeptide")
TOPOLOGY, START = SYSTEM.topology(), SYSTEM.start_positions()


def separations(topology):
    """Bonds between all pairs, by Floyd and Warshall."""
    n = topology.n_atoms
    found = np.where(np.eye(n, dtype=bool), 0, 99)
    for a, b in topology.bonds:
        found[a.index, b.index] = found[b.index, a.index] = 1
    for k in range(n):
        found = np.minimum(found, found[:, k, None] + found[None, k])
    return found


def test_pairs_held_by_bonds_are_those_up_to_three_bonds_apart():
    first, second = np.divmod(bonded_pairs(TOPOLOGY), 22)
    expected = np.triu(separations(TOPOLOGY) < 4, 1)
    found = np.zeros((22, 22), bool)
    found[first, second] = True
    np.testing.assert_array_equal(found, expected)


def test_near_pairs_are_those_of_all_distances():
    rng = np.random.default_rng(0)
    positions = 0.4 * rng.random((50, 22, 3))
    bonded = bonded_pairs(TOPOLOGY)
    found = {
        (int(s), int(p)): d
        for part in near_pairs(positions, 0.12, bonded)
        for s, p, d in zip(*part, strict=True)
    }
    difference = positions[:, :, None] - positions[:, None]
    apart = np.linalg.norm(difference, axis=-1)
    sample, i, j = np.nonzero((apart <= 0.12) & np.triu(separations(TOPOLOGY) >= 4, 1))
    expected = {(a, b * 22 + c): apart[a, b, c] for a, b, c in zip(sample, i, j, strict=True)}
    assert found.keys() == expected.keys() and len(found) > 100
    for key, value in found.items():
        assert value == pytest.approx(expected[key], abs=1e-12)


def test_a_clash_is_the_worst_pair_and_pairs_that_are_close_in_the_reference_may_be():
    centres = stereocentres(TOPOLOGY)
    reference = START[None].repeat(3, 0).astype(np.float64)
    # Two hydrogens of the caps, far apart in bonds, 0.09 nm from each other in one frame.
    reference[1, 21] = reference[1, 0] + [0.09, 0.0, 0.0]
    limits = limits_of(reference, TOPOLOGY, centres)
    np.testing.assert_array_equal(limits.close, [0 * 22 + 21])
    assert limits.close_distance == pytest.approx([0.081])
    samples = START[None].repeat(4, 0).astype(np.float64)
    samples[0, 21] = samples[0, 0] + [0.085, 0.0, 0.0]  # as in the reference
    samples[1, 21] = samples[1, 0] + [0.07, 0.0, 0.0]
    samples[2, 21] = samples[2, 0] + [0.07, 0.0, 0.0]
    samples[2, 20] = samples[2, 0] + [0.0, 0.02, 0.0]  # and worse
    validity = check_validity(samples, limits, ("clashes",))
    assert set(validity.passed) <= {"clashes", "stereo"}
    assert validity.passed["clashes"].tolist() == [True, False, False, True]
    told = [f for f in validity.findings if f.test == "clashes"]
    labels = [f"{atom.residue.resSeq}:{atom.name}" for atom in TOPOLOGY.atoms]
    assert [f.where for f in told] == [
        f"{labels[0]} – {labels[21]}", f"{labels[0]} – {labels[20]}"
    ]  # fmt: skip
    assert [f.value for f in told] == pytest.approx([0.07, 0.02])
    assert [f.low for f in told] == pytest.approx([0.081, CLASH_DISTANCE])


@pytest.mark.parametrize(("n", "most"), [(1, 5), (2, 5), (7, 100), (7, 4), (40, 13)])
def test_spread_pairs_are_every_so_many_of_all(n, most):
    every = np.stack(np.triu_indices(n, 1), axis=1)
    expected = every[:: max(1, -(-len(every) // most))]
    np.testing.assert_array_equal(spread_pairs(n, most), expected)


def test_ten_thousand_atoms_take_no_table_of_pairs():
    """A table of all pairs would take 800 MB."""
    import tracemalloc

    topology = mdtraj.Topology()
    residue = topology.add_residue("UNK", topology.add_chain())
    atoms = [topology.add_atom("C", mdtraj.element.carbon, residue) for _ in range(10_000)]
    for a, b in zip(atoms, atoms[1:], strict=False):
        topology.add_bond(a, b)
    side = np.arange(10_000)
    positions = 0.2 * np.stack([side % 22, side // 22 % 22, side // 484], axis=1)[None]
    tracemalloc.start()
    bonded = bonded_pairs(topology)
    found = [part for part in near_pairs(positions, 0.19, bonded)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(bonded) == 9_999 + 9_998 + 9_997 and not len(found[0][1])
    assert peak < 40e6
