"""Scores of validation samples against the validation run."""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.analysis.torsion_metrics import delta_f_alpha_l, fes_rmse
from molflow.analysis.torsions import phi_psi


class EnsembleScore:
    """Score positions against a run that is neither trained on nor reported.

    Parameters
    ----------
    topology : mdtraj.Topology
    positions : ndarray, (frames, atoms, 3)
        Validation frames, nm.
    """

    def __init__(self, topology: mdtraj.Topology, positions: np.ndarray):
        self.topology = topology
        self.torsions = phi_psi(mdtraj.Trajectory(positions, topology))
        self.pairs = np.array([(a.index, b.index) for a, b in topology.bonds])
        self.bond_mean, self.bond_sd = self._bonds(positions)

    def __call__(self, positions: np.ndarray) -> dict[str, float]:
        """Return ``fes_rmse`` (kT), ``delta_f_error`` (kT), share intact, median bond sd ratio."""
        torsions = phi_psi(mdtraj.Trajectory(positions, self.topology))
        bonds = positions[:, self.pairs[:, 0]] - positions[:, self.pairs[:, 1]]
        lengths = np.linalg.norm(bonds, axis=-1)
        intact = np.all(np.abs(lengths - self.bond_mean) < 0.05, axis=1)
        return {
            "fes_rmse": fes_rmse(torsions, self.torsions),
            "delta_f_error": delta_f_alpha_l(torsions) - delta_f_alpha_l(self.torsions),
            "intact": float(intact.mean()),
            "bond_sd_ratio": float(np.median(lengths.std(axis=0) / self.bond_sd)),
        }

    def _bonds(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        difference = positions[:, self.pairs[:, 0]] - positions[:, self.pairs[:, 1]]
        lengths = np.linalg.norm(difference, axis=-1)
        return lengths.mean(axis=0), lengths.std(axis=0)
