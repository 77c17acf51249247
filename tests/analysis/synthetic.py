"""Conformations of alanine dipeptide with known torsions and known Gaussian fluctuations."""

from __future__ import annotations

import mdtraj
import numpy as np
from scipy.stats import norm

from molflow.analysis.features import features_of
from molflow.analysis.floor import scored_part
from molflow.analysis.reference import Reference
from molflow.analysis.samples import Samples, measure_samples
from molflow.analysis.torsion_list import measure_torsions, torsion_list
from molflow.systems import load_system

SYSTEM = load_system("alanine_dipeptide")
TOPOLOGY = SYSTEM.topology()
PHI, PSI = (4, 6, 8, 14), (6, 8, 14, 16)
#: Atoms that a rotation about N-CA (phi) and CA-C (psi) moves: those behind the axis.
BEHIND_PHI = [9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]
BEHIND_PSI = [15, 16, 17, 18, 19, 20, 21]


def rotate(xyz: np.ndarray, axis: tuple[int, int], atoms: list[int], angle: np.ndarray):
    """Rotate atoms about the axis by an angle (n,), by Rodrigues' formula."""
    xyz = xyz.copy()
    origin = xyz[:, axis[1], None]
    k = xyz[:, axis[1]] - xyz[:, axis[0]]
    k = (k / np.linalg.norm(k, axis=1, keepdims=True))[:, None]
    v = xyz[:, atoms] - origin
    c, s = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along = np.sum(k * v, axis=2, keepdims=True)
    xyz[:, atoms] = origin + v * c + np.cross(k, v) * s + k * along * (1 - c)
    return xyz


def conformations(torsions: np.ndarray, sd: float = 0.0, seed: int = 0) -> np.ndarray:
    """Return positions (n, 22, 3) nm with these (phi, psi), then Gaussian noise of sd nm."""
    rng = np.random.default_rng(seed)
    # The structure has both torsions at 180 degrees.
    xyz = np.repeat(SYSTEM.start_positions()[None].astype(float), len(torsions), axis=0)
    xyz = rotate(xyz, (6, 8), BEHIND_PHI, torsions[:, 0] - np.pi)
    xyz = rotate(xyz, (8, 14), BEHIND_PSI, torsions[:, 1] - np.pi)
    return xyz + rng.normal(scale=sd, size=xyz.shape) if sd else xyz


def torsion_samples(n: int, alpha_l: float, seed: int) -> np.ndarray:
    """Draw (phi, psi) from beta, alpha-R and alpha-L wells; alpha_l is the share of the last."""
    rng = np.random.default_rng(seed)
    centres = np.array([[-1.9, 2.5], [-1.3, -0.4], [1.0, 0.6]])
    well = rng.choice(3, size=n, p=[0.6 * (1 - alpha_l), 0.4 * (1 - alpha_l), alpha_l])
    torsions = centres[well] + rng.normal(scale=[0.25, 0.25], size=(n, 2))
    return (torsions + np.pi) % (2 * np.pi) - np.pi


def trajectory(n: int, alpha_l: float = 0.05, sd: float = 0.003, seed: int = 0):
    """Return an mdtraj trajectory of independent synthetic conformations."""
    xyz = conformations(torsion_samples(n, alpha_l, seed), sd, seed + 1)
    return mdtraj.Trajectory(xyz.astype(np.float32), TOPOLOGY)


def energies(n: int, seed: int, mean: float = -50.0) -> np.ndarray:
    """Return the quantiles of a normal distribution of width 12 kJ/mol in random order."""
    levels = (np.arange(n) + 0.5) / n
    return mean + 12.0 * np.random.default_rng(seed).permutation(norm.ppf(levels))


def reference(frames: int = 3000, thin: int = 4, held_out=(2,), seed: int = 100) -> Reference:
    """Return a reference of three runs of independent synthetic frames."""
    whole = trajectory(frames, seed=seed)
    keep = np.arange(0, frames, thin)
    return Reference(
        topology=TOPOLOGY,
        torsions=measure_torsions(whole.xyz, torsion_list(TOPOLOGY)),
        energies=energies(frames, seed),
        replica=(np.arange(frames) * 3 // frames).astype(np.int16),
        positions=whole.xyz[keep],
        position_frame=keep.astype(np.int32),
        system=SYSTEM.name,
        ensemble=SYSTEM.ensemble,
        ensemble_hash=SYSTEM.ensemble_hash,
        temperature=300.0,
        frame_interval_ps=1.0,
        held_out_runs=held_out,
        provenance={"origin": "synthetic"},
    )


def measured(truth: Reference, xyz: np.ndarray, atoms=None, energies=None) -> Samples:
    """Return what the scorecard takes, from positions of all or some atoms of a reference."""
    atoms = np.arange(truth.topology.n_atoms) if atoms is None else np.asarray(atoms)
    return measure_samples([xyz], len(xyz), features_of(scored_part(truth), atoms), energies)
