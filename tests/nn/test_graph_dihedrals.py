"""Dihedral features of batches of different molecules, against those of the dense network."""

import mdtraj
import numpy as np
import pytest
import torch
from symmetry_suite import DIPEPTIDE, relabel
from test_sparse_attention import chain
from torch_geometric.data import Batch

from molflow.nn.dihedral_features import DihedralFeatures
from molflow.nn.dihedral_messages import dihedral_geometry
from molflow.nn.graph import MolecularGraph, kinds_of
from molflow.nn.graph_dihedrals import GraphDihedrals
from molflow.nn.molecules import Molecules, molecule_data
from molflow.systems import load_system
from molflow.testing import random_rotations

KINDS = {name: k for k, name in enumerate(sorted(set(kinds_of(DIPEPTIDE))), start=1)}
#: Three atoms and one: no dihedral. The names of the chain are of no kind that is known.
WATER = MolecularGraph((8, 1, 1), ("HOH",) * 3, ("HOH1-O", "HOH1-H1", "HOH1-H2"), ((0, 1), (0, 2)))
ION = MolecularGraph((11,), ("NA",), ("NA1-NA",), ())
MIXED = [WATER, DIPEPTIDE, ION, chain(6, 7), DIPEPTIDE, WATER]


@pytest.fixture(scope="module")
def made():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GraphDihedrals(1 + len(KINDS), 8, 5, 16, 6).double()


def batch_of(graphs) -> Molecules:
    batch = Batch.from_data_list([molecule_data(graph, KINDS, 32) for graph in graphs])
    return Molecules.from_batch(batch)


def inputs(graphs):
    generator = torch.Generator().manual_seed(1)
    atoms = sum(graph.n_atoms for graph in graphs)
    x = torch.randn(atoms, 3, generator=generator, dtype=torch.float64)
    return x, torch.randn(len(graphs), 5, generator=generator, dtype=torch.float64)


def test_dihedrals_of_a_batch_are_those_of_its_molecules():
    expected, first = [], 0
    for graph in MIXED:
        expected += [tuple(first + atom for atom in found) for found in graph.dihedrals()]
        first += graph.n_atoms
    assert list(map(tuple, batch_of(MIXED).dihedrals.T.tolist())) == expected
    copies = batch_of([DIPEPTIDE]).copies(3).dihedrals
    assert torch.equal(copies, batch_of([DIPEPTIDE] * 3).dihedrals)


def test_they_are_those_of_the_dense_network(made):
    """Whose tables are by atom, and whose smoothing another, felt where atoms are near."""
    dense = DihedralFeatures(DIPEPTIDE, 8, 5, 16, 6).double()
    weights = {name: value for name, value in made.state_dict().items() if "." in name}
    kinds = [KINDS[name] for name in kinds_of(DIPEPTIDE)]
    identity = made.kind[kinds] + made.element[list(DIPEPTIDE.elements)]
    weights |= {"to_vectors": made.to_vectors, "identity": identity.transpose(0, 1)}
    dense.load_state_dict(weights)
    x, step = inputs([DIPEPTIDE] * 3)
    x = 1e4 * x
    scalars, vectors = made(batch_of([DIPEPTIDE] * 3), x, step)
    expected, arrows = dense(x.reshape(3, 22, 3), step)
    assert expected.std() > 0.1 and arrows.std() > 0.1
    # The thirds in its matrices are those of single precision.
    assert (scalars.reshape(expected.shape) - expected).abs().max() < 1e-6
    assert (vectors.reshape(arrows.shape) - arrows).abs().max() < 1e-6


def test_a_batch_of_different_molecules_is_its_members(made):
    x, step = inputs(MIXED)
    scalars, vectors = made(batch_of(MIXED), x, step)
    first = 0
    for k, graph in enumerate(MIXED):
        own = slice(first, first + graph.n_atoms)
        alone = made(batch_of([graph]), x[own], step[k : k + 1])
        assert (scalars[own] - alone[0]).abs().max() < 1e-12
        assert (vectors[own] - alone[1]).abs().max() < 1e-12
        told = len(graph.dihedrals()) > 0
        assert bool(scalars[own].any()) == bool(vectors[own].any()) == told
        first += graph.n_atoms


def test_molecules_without_dihedrals_learn_nothing(made):
    x, step = inputs([WATER, ION])
    x.requires_grad_()
    molecules = batch_of([WATER, ION])
    assert molecules.dihedrals.shape == (4, 0)
    scalars, vectors = made(molecules, x, step)
    assert scalars.shape == (4, 16) and vectors.shape == (4, 3, 6)
    assert not scalars.any() and not vectors.any()
    (gradient,) = torch.autograd.grad(scalars.sum() + vectors.sum(), x)
    assert not gradient.any()


def test_relabelled_atoms_learn_the_same(made):
    """In whatever order the dihedrals come, each atom has its own sum."""
    order = torch.randperm(22, generator=torch.Generator().manual_seed(5))
    x, step = inputs([DIPEPTIDE])
    expected = made(batch_of([DIPEPTIDE]), x, step)
    found = made(batch_of([relabel(DIPEPTIDE, order.tolist())]), x[order], step)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs[order]).abs().max() < 1e-12


def test_scalars_stay_vectors_turn_and_a_mirror_image_differs(made):
    graphs, generator = [DIPEPTIDE, chain(6)], torch.Generator().manual_seed(2)
    molecules = batch_of(graphs)
    x, step = inputs(graphs)
    scalars, vectors = made(molecules, x, step)
    rotation = random_rotations(2, generator)[molecules.molecule]
    moved = (rotation @ x[..., None])[..., 0] + 3.0
    turned, arrows = made(molecules, moved, step)
    assert (turned - scalars).abs().max() < 1e-11
    assert (arrows - rotation @ vectors).abs().max() < 1e-11
    assert (made(molecules, -x, step)[0] - scalars).abs().max() > 1e-2


def test_elements_and_kinds_are_told_apart(made):
    """Atoms of unknown kind by their element alone."""
    x, step = inputs([chain(6)])
    carbon, nitrogen = (made(batch_of([chain(6, z)]), x, step)[0] for z in (6, 7))
    assert (carbon - nitrogen).abs().max() > 1e-2
    known = batch_of([chain(6)])
    known.kind[3] = 5
    assert (made(known, x, step)[0] - carbon).abs().max() > 1e-2


def test_angles_agree_with_mdtraj_where_bonds_are_a_tenth_of_the_size():
    """As in molecules of thousands of atoms, whose positions have unit size all the same."""
    system = load_system("alanine_dipeptide")
    x = system.start_positions()
    x = x + 0.01 * np.random.default_rng(0).standard_normal(x.shape)
    found = np.array(DIPEPTIDE.dihedrals())
    trajectory = mdtraj.Trajectory(x[None], system.topology())
    expected = -mdtraj.compute_dihedrals(trajectory, found, periodic=False)[0]
    places = torch.from_numpy(x)  # nm, bonds of 0.1 to 0.15
    smoothing = GraphDihedrals.SMOOTHING
    harmonics, *_ = dihedral_geometry(*(places[index] for index in found.T), smoothing)
    harmonics = harmonics.numpy()
    angle = np.arctan2(harmonics[:, 1], harmonics[:, 0])
    assert np.abs(np.angle(np.exp(1j * (angle - expected)))).max() < 0.1
    assert np.hypot(harmonics[:, 0], harmonics[:, 1]).min() > 0.8
