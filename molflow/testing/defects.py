"""Ensembles with one known defect each, made of a sound one: does a metric see them?"""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.analysis.molecule.graph import neighbours
from molflow.analysis.torsion_metrics import in_alpha_l
from molflow.analysis.torsions import phi_psi


def mirrored(
    frames: mdtraj.Trajectory, share: float, rng: np.random.Generator
) -> mdtraj.Trajectory:
    """Return the frames with a share of them, drawn at random, turned into mirror images."""
    xyz = frames.xyz.copy()
    xyz[rng.random(len(xyz)) < share, :, 0] *= -1
    return mdtraj.Trajectory(xyz, frames.topology)


def without_alpha_l(frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """Return the frames that are not in the left-handed region."""
    return frames[~in_alpha_l(phi_psi(frames))]


def stiffened(frames: mdtraj.Trajectory, factor: float) -> mdtraj.Trajectory:
    """Return the frames as if every force constant of a bond were larger by a factor.

    Deviations of the lengths from their means are divided by the root of the factor, walking
    outwards from the first atom; directions of bonds stay, and with them angles and torsions.
    """
    table, xyz = neighbours(frames.topology), frames.xyz.astype(np.float64)
    moved, seen, stack = xyz.copy(), {0}, [0]
    while stack:
        parent = stack.pop()
        for child in (j for j in table[parent] if j not in seen):
            bond = xyz[:, child] - xyz[:, parent]
            length = np.linalg.norm(bond, axis=1, keepdims=True)
            new = length.mean() + (length - length.mean()) / np.sqrt(factor)
            moved[:, child] = moved[:, parent] + bond * new / length
            seen.add(child)
            stack.append(child)
    return mdtraj.Trajectory(moved.astype(np.float32), frames.topology)


def broken(frames: mdtraj.Trajectory, share: float, rng: np.random.Generator) -> mdtraj.Trajectory:
    """Return the frames with a bond to a hydrogen stretched by 0.1 nm in a share of them."""
    xyz, topology = frames.xyz.copy(), frames.topology
    ends = [sorted((a.index, b.index), key=lambda i: topology.atom(i).element.symbol == "H")
            for a, b in topology.bonds if "H" in (a.element.symbol, b.element.symbol)]  # fmt: skip
    for frame in np.flatnonzero(rng.random(len(xyz)) < share):
        heavy, hydrogen = ends[rng.integers(len(ends))]
        bond = xyz[frame, hydrogen] - xyz[frame, heavy]
        xyz[frame, hydrogen] += 0.1 * bond / np.linalg.norm(bond)
    return mdtraj.Trajectory(xyz, topology)


def repeated(
    frames: mdtraj.Trajectory, share: float, rng: np.random.Generator
) -> mdtraj.Trajectory:
    """Return the frames with a share of them, drawn at random, replaced by the first."""
    xyz = frames.xyz.copy()
    xyz[rng.random(len(xyz)) < share] = xyz[0]
    return mdtraj.Trajectory(xyz, frames.topology)
