"""Balls and sticks: the style of the report's molecules, and a drawing of it in matplotlib."""

from __future__ import annotations

import mdtraj
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, Polygon

from molflow.analysis.plots import new_axes

#: Colours of Okabe and Ito by element; letters on the balls say the same without colour.
COLOURS = {
    "H": "#FFFFFF", "C": "#5A6068", "N": "#0072B2", "O": "#D55E00", "S": "#E69F00",
    "P": "#CC79A7", "F": "#009E73", "Cl": "#009E73", "Br": "#009E73", "I": "#009E73",
}  # fmt: skip
#: Colour of other elements.
OTHER = "#CC79A7"
#: Radii of hydrogen and other balls and half the width of a stick, nm.
HYDROGEN, BALL, STICK = 0.024, 0.036, 0.011
#: Above so many atoms hydrogen is not drawn.
MANY = 200
#: How far the far end is blended with the paper.
FOG = 0.45


def drawn_atoms(topology: mdtraj.Topology) -> tuple[np.ndarray, list[str], list[tuple[int, int]]]:
    """Return which atoms are drawn (k,), their elements and the bonds between them.

    All atoms, without hydrogen if there are more than `MANY`; bonds in indices of drawn atoms.
    """
    symbols = [a.element.symbol if a.element else "" for a in topology.atoms]
    many = topology.n_atoms > MANY
    kept = [i for i, symbol in enumerate(symbols) if symbol != "H" or not many]
    place = {atom: i for i, atom in enumerate(kept)}
    bonds = [(bond.atom1.index, bond.atom2.index) for bond in topology.bonds]
    inside = [(place[a], place[b]) for a, b in bonds if a in place and b in place]
    return np.array(kept), [symbols[i] for i in kept], inside


def radius(symbol: str) -> float:
    """Return the radius of an element's ball, nm."""
    return HYDROGEN if symbol == "H" else BALL


def scene(positions: np.ndarray, topology: mdtraj.Topology) -> dict:
    """Return what the report's viewer draws, JSON-safe.

    Parameters
    ----------
    positions : ndarray, (k, n_atoms, 3)
        Posed conformations, nm.
    topology : mdtraj.Topology
    """
    atoms, symbols, bonds = drawn_atoms(topology)
    return {
        "elements": symbols,
        "colours": [COLOURS.get(symbol, OTHER) for symbol in symbols],
        "radii": [radius(symbol) for symbol in symbols],
        "bonds": [list(bond) for bond in bonds],
        "stick": STICK,
        "fog": FOG,
        "extent": reach_of(positions, topology)[0],
        "frames": [np.round(frame[atoms], 4).ravel().tolist() for frame in positions],
    }


def reach_of(positions: np.ndarray, topology: mdtraj.Topology) -> tuple[float, float]:
    """Return half the width and height that conformations (k, n_atoms, 3) need, nm."""
    xyz = positions[:, drawn_atoms(topology)[0]]
    return tuple((np.abs(xyz[..., :2]).max(axis=(0, 1)) + BALL).tolist())


def draw_molecule(
    positions: np.ndarray, topology: mdtraj.Topology, axes: Axes | None = None,
    reach: tuple[float, float] | None = None,
) -> Axes:  # fmt: skip
    """Draw one conformation as balls and sticks, seen along z from above.

    Parameters
    ----------
    positions : ndarray, (n_atoms, 3)
        nm, centred.
    topology : mdtraj.Topology
    axes : matplotlib.axes.Axes, optional
    reach : pair of float, optional
        Half the width and height of the picture, nm; by default the conformation just fits.
    """
    reach = reach or reach_of(positions[None], topology)
    axes = axes or new_axes(2.9, 2.9 * reach[1] / reach[0])
    atoms, symbols, bonds = drawn_atoms(topology)
    xyz = positions[atoms]
    paper = np.ones(3)

    def shade(symbol: str, depth: float) -> np.ndarray:
        share = FOG * np.clip(0.5 - depth / (2 * reach[0]), 0, 1)
        ink = np.array(to_rgb(COLOURS.get(symbol, OTHER)))
        return np.minimum((1 - share) * ink + share * paper, 1.0)  # white rounds to above 1

    for a, b in bonds:
        middle = (xyz[a] + xyz[b]) / 2
        for end in (a, b):
            # A stick starts on the ball, or one that comes nearer would cover it.
            away = middle - xyz[end]
            start = xyz[end] + min(1.0, 0.9 * radius(symbols[end]) / np.linalg.norm(away)) * away
            _stick(axes, start, middle, shade(symbols[end], middle[2]))
    for symbol, place in zip(symbols, xyz, strict=True):
        size, order = radius(symbol), 10 + place[2]
        face = shade(symbol, place[2])
        axes.add_patch(Circle(place[:2], size, facecolor=face, edgecolor="0.25", linewidth=0.6,
                              zorder=order))  # fmt: skip
        if symbol not in ("H", "C"):
            axes.annotate(symbol, place[:2], ha="center", va="center_baseline", fontsize=6.5,
                          color="white", fontweight="bold", zorder=order + 1e-4)  # fmt: skip
    axes.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]), aspect="equal")
    axes.set_axis_off()
    return axes


def _stick(axes: Axes, start: np.ndarray, end: np.ndarray, face: np.ndarray) -> None:
    along = end[:2] - start[:2]
    length = np.linalg.norm(along)
    if length < 1e-6:  # seen end on
        return
    side = STICK * np.array([-along[1], along[0]]) / length
    corners = [start[:2] - side, start[:2] + side, end[:2] + side, end[:2] - side]
    depth = 10 + (start[2] + end[2]) / 2
    axes.add_patch(Polygon(corners, facecolor=face, edgecolor="0.25", linewidth=0.5, zorder=depth))
