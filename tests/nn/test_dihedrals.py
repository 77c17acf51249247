"""Dihedral features against mdtraj, and which dihedrals a bond graph has."""

import mdtraj
import numpy as np
import torch
from toy_maps import GRAPH

from molflow.nn.dihedral_features import DihedralFeatures
from molflow.nn.dihedral_messages import dihedral_geometry
from molflow.nn.graph import MolecularGraph
from molflow.systems import load_system
from molflow.testing import random_rotations

SYSTEM = load_system("alanine_dipeptide")
DIPEPTIDE = MolecularGraph.from_topology(SYSTEM.topology())


def features(graph, **sizes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DihedralFeatures(graph, 8, 5, 16, 8, **sizes).double()


def test_dihedrals_of_a_branched_chain():
    """Bonds 0-1, 0-2, 2-3, 3-4: one torsion about each inner bond, three neighbours nowhere."""
    found = GRAPH.dihedrals()
    assert sorted(found) == [(0, 2, 3, 4), (1, 0, 2, 3), (3, 2, 0, 1), (4, 3, 2, 0)]


def test_dihedrals_of_one_centre_are_impropers():
    star = MolecularGraph((7, 1, 1, 1), ("X",) * 4, ("N", "A", "B", "C"), ((0, 1), (0, 2), (0, 3)))
    found = star.dihedrals()
    assert len(found) == len(set(found)) == 6
    assert all(j == 0 and {i, k, other} == {1, 2, 3} for i, j, k, other in found)


def test_proper_dihedrals_of_the_dipeptide_come_with_their_reverse():
    found = set(DIPEPTIDE.dihedrals())
    bonds = {frozenset(pair) for pair in DIPEPTIDE.bonds}
    proper = {d for d in found if frozenset(d[2:]) in bonds}

    degree = [len(n) for n in DIPEPTIDE.neighbours()]
    assert len(proper) == 2 * sum((degree[i] - 1) * (degree[j] - 1) for i, j in DIPEPTIDE.bonds)
    assert {d[::-1] for d in proper} == proper
    assert len(found - proper) == sum(d * (d - 1) * (d - 2) for d in degree)


def test_angles_agree_with_mdtraj_up_to_the_smoothing():
    x = SYSTEM.start_positions()
    x = x + 0.01 * np.random.default_rng(0).standard_normal(x.shape)
    trajectory = mdtraj.Trajectory(x[None], SYSTEM.topology())
    made = features(DIPEPTIDE)
    expected = -mdtraj.compute_dihedrals(trajectory, made.atoms.numpy(), periodic=False)[0]
    # Far from the scale of the smoothing: in units in which a bond is about one long.
    places = torch.from_numpy(x / 0.1)
    harmonics, first, second = dihedral_geometry(*(places[index] for index in made.atoms.T))
    for m in (1, 2, 3):
        pair = harmonics[:, 2 * m - 2 : 2 * m].numpy()
        angle = np.arctan2(pair[:, 1], pair[:, 0])
        difference = np.angle(np.exp(1j * (angle - m * expected)))
        assert np.abs(difference).max() < 2e-2
        assert np.abs(np.hypot(*pair.T) - 1.0).max() < 2e-2
    i, j, k, other = (torch.from_numpy(x)[index] for index in made.atoms.unbind(1))
    for normal, plane in ((first, (i - j, j - k)), (second, (j - k, k - other))):
        assert max(float((normal * side).sum(-1).abs().max()) for side in plane) < 1e-12
        assert (normal.norm(dim=-1) - 1.0).abs().max() < 1e-2


def test_scalars_stay_and_vectors_turn_with_the_molecule():
    made = features(DIPEPTIDE)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 22, 3, generator=generator, dtype=torch.float64)
    step = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    scalars, vectors = made(x, step)
    rotation = random_rotations(3, generator)
    turned, turned_vectors = made(x @ rotation.mT + 2.0, step)
    assert (turned - scalars).abs().max() < 1e-12
    assert (turned_vectors - rotation[:, None] @ vectors).abs().max() < 1e-12
    # A mirror image has the opposite angles: the scalars tell the two hands apart.
    assert (made(-x, step)[0] - scalars).abs().max() > 1e-2


def test_derivatives_are_finite_where_atoms_coincide():
    made = features(DIPEPTIDE)
    x = torch.zeros(1, 22, 3, dtype=torch.float64, requires_grad=True)
    step = torch.zeros(1, 5, dtype=torch.float64)

    def total(x):
        scalars, vectors = made(x, step)
        return scalars.sum() + vectors.square().sum()

    (first,) = torch.autograd.grad(total(x), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum() + first.sum(), x)
    assert torch.isfinite(first).all() and torch.isfinite(second).all()
    assert torch.isfinite(total(x))
