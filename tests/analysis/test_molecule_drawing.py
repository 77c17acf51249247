import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, Polygon
from molecules import chain, zigzag
from synthetic import TOPOLOGY, trajectory

from molflow.analysis.reporting.molecule_drawing import (
    COLOURS,
    MANY,
    draw_molecule,
    drawn_atoms,
    reach_of,
)


def test_every_atom_and_bond_is_drawn_where_it_is():
    xyz = trajectory(1).xyz[0] - trajectory(1).xyz[0].mean(axis=0)
    axes = draw_molecule(xyz, TOPOLOGY)
    balls = [patch for patch in axes.patches if isinstance(patch, Circle)]
    sticks = [patch for patch in axes.patches if isinstance(patch, Polygon)]
    assert np.allclose([ball.center for ball in balls], xyz[:, :2])
    assert len(sticks) == 2 * TOPOLOGY.n_bonds
    letters = [text.get_text() for text in axes.texts]
    assert sorted(letters) == ["N", "N", "O", "O"]  # told without colour
    # What is nearer is drawn later, and farther balls are paler.
    depth = [ball.get_zorder() for ball in balls]
    assert np.array_equal(np.argsort(depth), np.argsort(xyz[:, 2]))
    carbon = [i for i, atom in enumerate(TOPOLOGY.atoms) if atom.element.symbol == "C"]
    pale = [np.sum(balls[i].get_facecolor()[:3]) for i in carbon]
    assert np.array_equal(np.argsort(pale), np.argsort(-xyz[carbon, 2]))
    assert np.all(np.array(pale) >= sum(to_rgb(COLOURS["C"])))
    # All balls lie inside the picture, and it is no larger than it must be.
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    assert left < xyz[:, 0].min() and xyz[:, 0].max() < right < np.abs(xyz[:, 0]).max() + 0.04
    assert low < xyz[:, 1].min() and xyz[:, 1].max() < high < np.abs(xyz[:, 1]).max() + 0.04


def test_sticks_start_on_their_balls():
    flat = np.array([[-0.1, 0, 0], [0.1, 0, 0.0]])
    axes = draw_molecule(flat, chain("CO"), reach=reach_of(flat[None], chain("CO")))
    ends = [patch.get_xy()[:, 0] for patch in axes.patches if isinstance(patch, Polygon)]
    assert np.isclose(ends[0].min(), -0.1 + 0.9 * 0.036) and np.isclose(ends[0].max(), 0)
    assert np.isclose(ends[1].max(), 0.1 - 0.9 * 0.036) and np.isclose(ends[1].min(), 0)


def test_hydrogen_is_left_out_of_large_molecules():
    few, many = chain("CH" * 5), chain("CH" * (MANY // 2) + "C")
    assert len(drawn_atoms(few)[0]) == 10
    atoms, symbols, bonds = drawn_atoms(many)
    assert set(symbols) == {"C"} and atoms[1] == 2 and not bonds
    assert len(draw_molecule(zigzag(np.zeros((1, 7)))[0], few).patches) == 10 + 2 * 9
