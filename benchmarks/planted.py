"""Perfect draws of alanine dipeptide, and twenty-one defects that are planted into them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import mdtraj
import numpy as np
from analysis import broken, mirrored, repeated, stiffened

from molflow.analysis.molecule.graph import neighbours
from molflow.analysis.observables import basin_marks
from molflow.analysis.reference import Reference
from molflow.comparison import find_reference
from molflow.systems import systems_folder
from molflow.units import thermal_energy

SYSTEM = "alanine_dipeptide"
#: nm by which every draw trembles, far below any bond's: the same frame twice is no copy.
TREMBLE = 1e-4
#: Cells an angle between which correlated frames move, and frames for which one stays.
CELLS, STAY = 12, 10
#: Runs of a reference, and those that are held out of it.
RUNS, HELD_OUT = 6, (4, 5)


@dataclass(frozen=True)
class Draw:
    """Conformations (n, atoms, 3) in nm, energies (n,) in kJ/mol and backbone torsions (n, 2)."""

    xyz: np.ndarray
    energies: np.ndarray
    torsions: np.ndarray

    def part(self, rows: np.ndarray) -> Draw:
        """Return some of them."""
        return Draw(self.xyz[rows], self.energies[rows], self.torsions[rows])


class Pool:
    """The weighted frames of 100 ns under a static bias: the law that all draws are from."""

    def __init__(self) -> None:
        self.truth = find_reference(systems_folder() / SYSTEM / "reference-flattened")
        truth, frame = self.truth, self.truth.position_frame
        self.frames = Draw(truth.positions, truth.energies[frame], truth.torsions[frame])
        self.weights = truth.position_weights
        grid = np.floor((self.frames.torsions + np.pi) / (2 * np.pi) * CELLS).astype(int)
        self.cell = np.ravel_multi_index(np.clip(grid, 0, CELLS - 1).T, (CELLS, CELLS))

    def rows(self, n: int, rng: np.random.Generator, weights=None) -> np.ndarray:
        """Return numbers of frames drawn independently by their weights."""
        p = self.weights if weights is None else weights / weights.sum()
        return rng.choice(len(p), n, p=p)

    def correlated_rows(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return numbers of frames each of which is in the cell of the last, nine times of ten.

        A new cell is drawn by its weight, and in a cell frames are drawn by theirs: the law of
        every frame is that of the pool.
        """
        moves = rng.random(n) < 1 / STAY
        moves[0] = True
        cells = self.cell[self.rows(int(moves.sum()), rng)][np.cumsum(moves) - 1]
        rows = np.empty(n, int)
        for cell in np.unique(cells):
            members, here = np.flatnonzero(self.cell == cell), cells == cell
            p = self.weights[members] / self.weights[members].sum()
            rows[here] = rng.choice(members, here.sum(), p=p)
        return rows

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> Draw:
        """Return frames by their numbers, trembling."""
        found = self.frames.part(rows)
        noise = rng.normal(scale=TREMBLE, size=found.xyz.shape)
        return replace(found, xyz=(found.xyz + noise).astype(np.float32))

    def reference(self, frames: int, rng: np.random.Generator, correlated: bool) -> Reference:
        """Return a reference of six runs of new draws, every other frame with positions."""
        each = frames // RUNS
        chosen = self.correlated_rows if correlated else self.rows
        found = self.draw(np.concatenate([chosen(each, rng) for _ in range(RUNS)]), rng)
        kept = np.arange(0, RUNS * each, 2)
        return replace(
            self.truth, torsions=found.torsions, energies=found.energies,
            replica=np.repeat(np.arange(RUNS, dtype=np.int16), each), positions=found.xyz[kept],
            position_frame=kept.astype(np.int32), held_out_runs=HELD_OUT, log_weights=None,
            frame_interval_ps=1.0, provenance={},
        )  # fmt: skip


def runs_of_md() -> list[tuple[Reference, Draw]]:
    """Return every run of the shipped reference as an ensemble, and the five others to judge it."""
    truth, pairs = find_reference(SYSTEM), []
    for run in truth.runs:
        own, others = truth.select([run]), [other for other in truth.runs if other != run]
        frame = own.position_frame
        draw = Draw(own.positions, own.energies[frame], own.torsions[frame])
        rest = replace(truth.select(others), held_out_runs=tuple(others[:2]))
        pairs.append((rest, draw))
    return pairs


def _side(topology: mdtraj.Topology, axis: tuple[int, int]) -> list[int]:
    """Return the atoms behind the second atom of a bond, seen from the first."""
    table, seen, stack = neighbours(topology), {axis[0], axis[1]}, [axis[1]]
    while stack:
        stack += (new := [j for j in table[stack.pop()] if j not in seen])
        seen |= set(new)
    return sorted(seen - {*axis})


def turned(xyz: np.ndarray, topology, axis: tuple[int, int], angles: np.ndarray) -> np.ndarray:
    """Return conformations with what is behind a bond turned about it by angles (n,) in rad."""
    atoms, xyz = _side(topology, axis), xyz.astype(np.float64)
    origin, k = xyz[:, axis[1], None], xyz[:, axis[1]] - xyz[:, axis[0]]
    return _rotated(xyz, atoms, origin, k, angles)


def bent(xyz: np.ndarray, topology, atoms: tuple[int, int, int], angles: np.ndarray) -> np.ndarray:
    """Return conformations whose bond angle of three atoms is wider by angles (n,) in rad."""
    xyz = xyz.astype(np.float64)
    a, b, c = (xyz[:, i] for i in atoms)
    moved = [atoms[2], *_side(topology, (atoms[1], atoms[2]))]
    return _rotated(xyz, moved, b[:, None], np.cross(a - b, c - b), angles)


def _rotated(xyz, atoms: list[int], origin, axis, angles: np.ndarray) -> np.ndarray:
    """Rotate atoms about axes through origins, by Rodrigues' formula."""
    k = (axis / np.linalg.norm(axis, axis=1, keepdims=True))[:, None]
    v, c, s = xyz[:, atoms] - origin, np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    moved = xyz.copy()
    along = np.sum(k * v, axis=2, keepdims=True)
    moved[:, atoms] = origin + v * c + np.cross(k, v) * s + k * along * (1 - c)
    return moved.astype(np.float32)


#: Atoms of alanine dipeptide: C, N, CA, CB, HA and C of the residue, N and H of the cap.
ACE_C, ACE_O, N, H, CA, HA, CB, C, NME_N = 4, 5, 6, 7, 8, 9, 10, 14, 16
Plant = Callable[[Pool, float, int, np.random.Generator], Draw]


def _some(n: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return a mark for each of n that is set for a share of them, for one at least."""
    marks = np.zeros(n, bool)
    marks[rng.choice(n, max(1, round(share * n)), replace=False)] = True
    return marks


def _shape(change: Callable[[np.ndarray, mdtraj.Topology, float, np.random.Generator], np.ndarray]):
    """Return what plants a change of the positions."""

    def plant(pool: Pool, size: float, n: int, rng: np.random.Generator) -> Draw:
        draw = pool.draw(pool.rows(n, rng), rng)
        return replace(draw, xyz=change(draw.xyz, pool.truth.topology, size, rng))

    return plant


def _frames(change: Callable[..., mdtraj.Trajectory]):
    """Return what plants a change of `benchmarks/analysis.py`."""

    def plant(xyz, topology, size, rng):
        return change(mdtraj.Trajectory(xyz, topology), size, rng).xyz

    return _shape(plant)


def _energy(change: Callable[[np.ndarray, float, float, np.random.Generator], np.ndarray]):
    """Return what plants a change of the energies, of which one kT is given."""

    def plant(pool: Pool, size: float, n: int, rng: np.random.Generator) -> Draw:
        draw, kt = pool.draw(pool.rows(n, rng), rng), thermal_energy(pool.truth.temperature)
        return replace(draw, energies=change(draw.energies, size, kt, rng))

    return plant


def _basin(name: str):
    """Return what plants a basin whose weight is larger by a factor."""

    def plant(pool: Pool, size: float, n: int, rng: np.random.Generator) -> Draw:
        factor = np.where(basin_marks(pool.frames.torsions)[name], size, 1.0)
        return pool.draw(pool.rows(n, rng, pool.weights * factor), rng)

    return plant


def _turn_all(axis: tuple[int, int]):
    def change(xyz, topology, size, rng):
        return turned(xyz, topology, axis, np.full(len(xyz), np.radians(size)))

    return change


def _broaden(xyz, topology, size, rng):
    return turned(xyz, topology, (N, CA), rng.normal(scale=np.radians(size), size=len(xyz)))


def _cis(xyz, topology, size, rng):
    return turned(xyz, topology, (ACE_C, N), np.pi * _some(len(xyz), size, rng))


def _wide(xyz, topology, size, rng):
    return bent(xyz, topology, (N, CA, C), np.radians(45) * _some(len(xyz), size, rng))


def _pyramid(xyz, topology, size, rng):
    """Turn a carbonyl oxygen out of the plane of its carbon by 50 degrees."""
    xyz = xyz.astype(np.float64)
    c, o = xyz[:, ACE_C], xyz[:, ACE_O]
    axis = np.cross(o - c, np.cross(o - c, xyz[:, N] - c))
    angles = np.radians(50) * _some(len(xyz), size, rng)
    return _rotated(xyz, [ACE_O], c[:, None], axis, angles)


def _clash(xyz, topology, size, rng):
    xyz = xyz.copy()
    marks = _some(len(xyz), size, rng)
    xyz[marks, 21] = xyz[marks, 0] + np.float32(0.03)
    return xyz


def _exchange(xyz, topology, size, rng):
    """Exchange the directions of two neighbours of the central carbon."""
    xyz = xyz.copy()
    marks = _some(len(xyz), size, rng)
    xyz[marks, HA], xyz[marks, CB] = xyz[marks, CB], xyz[marks, HA]
    return xyz


def _infinite(xyz, topology, size, rng):
    xyz = xyz.copy()
    xyz[_some(len(xyz), size, rng), CA] = np.nan
    return xyz


def _shuffle(pool: Pool, size: float, n: int, rng: np.random.Generator) -> Draw:
    """Shuffle a share of the frames of a trajectory among themselves."""
    draw, order = pool.draw(pool.correlated_rows(n, rng), rng), np.arange(n)
    chosen = np.flatnonzero(_some(n, size, rng))
    order[chosen] = rng.permutation(chosen)
    return draw.part(order)


_VALID, _SHAPE = ("Validity and chirality",), ("Angles, planes and rings",)
_TORSIONS = ("Torsions", "Free-energy map", "Basins", "Free energy of αL")
_SHARES = (0.002, 0.005, 0.01, 0.02, 0.05)
#: What is planted, its sizes, their unit, and the aspects of the verdict that may say so.
DEFECTS: dict[str, tuple[Plant, tuple[float, ...], str, tuple[str, ...]]] = {
    "mirror images": (_frames(mirrored), _SHARES, "share of samples", _VALID),
    "broken bonds": (_frames(broken), _SHARES, "share of samples", _VALID),
    "clashes": (_shape(_clash), _SHARES, "share of samples", _VALID),
    "neighbours exchanged": (_shape(_exchange), _SHARES, "share of samples", _VALID),
    "not finite": (_shape(_infinite), _SHARES, "share of samples", _VALID),
    "angles 45 degrees too wide": (_shape(_wide), _SHARES, "share of samples", _SHAPE + _VALID),
    "pyramids of planes": (_shape(_pyramid), _SHARES, "share of samples", _SHAPE + _VALID),
    "cis for trans": (_shape(_cis), _SHARES, "share of samples", _SHAPE + _VALID),
    "copies": (_frames(repeated), _SHARES, "share of samples", ("Repeated samples",)),
    "alpha-L too rare": (_basin("alpha_l"), (0.7, 0.5, 0.3, 0.1, 0.0), "times", _TORSIONS),
    "alpha-L too frequent": (_basin("alpha_l"), (1.5, 2, 3, 5), "times", _TORSIONS),
    "alpha-R too frequent": (_basin("alpha_r"), (1.2, 1.5, 2, 3), "times", _TORSIONS),
    "phi shifted": (_shape(_turn_all((N, CA))), (2, 5, 10, 20), "degrees", _TORSIONS),
    "psi shifted": (_shape(_turn_all((CA, C))), (2, 5, 10, 20), "degrees", _TORSIONS),
    "phi broadened": (_shape(_broaden), (5, 10, 20, 30), "degrees", _TORSIONS),
    "bonds too stiff": (
        _shape(lambda xyz, top, size, rng: stiffened(mdtraj.Trajectory(xyz, top), size).xyz),
        (1.05, 1.1, 1.2, 1.5), "times", ("Bond fluctuations",),
    ),
    "bonds too soft": (
        _shape(lambda xyz, top, size, rng: stiffened(mdtraj.Trajectory(xyz, top), 1 / size).xyz),
        (1.05, 1.1, 1.2, 1.5), "times", ("Bond fluctuations",),
    ),
    "energies shifted": (
        _energy(lambda u, size, kt, rng: u + size * kt), (0.2, 0.5, 1, 2), "kT", ("Energies",)
    ),
    "energies too wide": (
        _energy(lambda u, size, kt, rng: u.mean() + size * (u - u.mean())), (1.1, 1.2, 1.5, 2),
        "times", ("Energies",),
    ),
    "energies with a tail": (
        _energy(lambda u, size, kt, rng: u + 50 * kt * _some(len(u), size, rng)),
        (0.005, 0.01, 0.02, 0.05), "share of samples 50 kT up", ("Energies",),
    ),
    "order in time shuffled": (
        _shuffle, (0.1, 0.3, 0.5, 1.0), "share of frames", ("Order in time",)
    ),
}  # fmt: skip
