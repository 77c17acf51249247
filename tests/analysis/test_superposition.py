import mdtraj
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molflow.analysis.molecule.superposition import paired_rmsd, superposed
from molflow.comparison import find_reference


def test_it_is_the_distance_after_the_best_rotation():
    reference = find_reference("alanine_dipeptide")
    one, other = reference.positions[:20], reference.positions[100:120]
    heavy = reference.topology.select("element != H")
    found = paired_rmsd(one, other, reference.topology)
    for k in range(20):
        a, b = (x[k, heavy] - x[k, heavy].mean(axis=0) for x in (one, other))
        _, distance = Rotation.align_vectors(a, b)
        assert found[k] == pytest.approx(distance / len(heavy) ** 0.5, abs=2e-5)


def test_turned_and_moved_copies_are_at_no_distance():
    reference = find_reference("alanine_dipeptide")
    one = reference.positions[:5]
    turned = one @ Rotation.from_euler("xyz", [1, 2, 3]).as_matrix().T + 0.3
    assert paired_rmsd(turned, one, reference.topology).max() < 1e-3  # single precision
    # The mirror image is another molecule.
    assert paired_rmsd(-one, one, reference.topology).min() > 0.02


def test_what_is_not_finite_is_infinitely_far():
    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    for name in "ABC":
        topology.add_atom(name, mdtraj.element.carbon, residue)
    one = np.random.default_rng(0).normal(size=(2, 3, 3))
    other = one.copy()
    other[1, 0, 0] = np.nan
    assert np.isinf(paired_rmsd(one, other, topology)).tolist() == [False, True]


def test_molecules_of_one_heavy_atom_are_laid_on_each_other_by_all(capfd):
    """One atom fixes no rotation; mdtraj's remarks on that came from compiled code."""
    topology = mdtraj.Topology()
    residue = topology.add_residue("HOH", topology.add_chain())
    for symbol in "OHH":
        topology.add_atom(symbol, mdtraj.element.get_by_symbol(symbol), residue)
    start = np.array([[0.0, 0, 0], [0.096, 0, 0], [-0.024, 0.093, 0]])
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    moved = superposed(start[None] @ turn.T + 0.3, topology, start)[0]
    centred = start - start.mean(axis=0)
    assert np.abs(moved - moved.mean(axis=0) - centred).max() < 1e-5
    assert "UNCONVERGED" not in "".join(capfd.readouterr())
