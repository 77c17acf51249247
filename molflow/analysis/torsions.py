"""Backbone torsions of peptides."""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.errors import MolflowError


def phi_psi_indices(topology: mdtraj.Topology) -> np.ndarray:
    """Return the atoms of phi and psi of the residue that has both.

    phi is C(i-1), N, CA, C and psi is N, CA, C, N(i+1), found by atom and residue names, so that
    subsets which keep those five atoms work too.

    Returns
    -------
    ndarray, (2, 4), int
        0-based indices; (4, 6, 8, 14) and (6, 8, 14, 16) for alanine dipeptide of 22 atoms.

    Raises
    ------
    MolflowError
        If not exactly one residue has both torsions.
    """
    residues = [{atom.name: atom.index for atom in r.atoms} for r in topology.residues]
    chains = [residue.chain.index for residue in topology.residues]
    found = []
    for i in range(1, len(residues) - 1):
        before, here, after = residues[i - 1 : i + 2]
        if (
            len(set(chains[i - 1 : i + 2])) == 1
            and {"N", "CA", "C"} <= here.keys()
            and "C" in before
            and "N" in after
        ):
            backbone = [here["N"], here["CA"], here["C"]]
            found.append([[before["C"], *backbone], [*backbone, after["N"]]])
    if len(found) != 1:
        raise MolflowError(
            f"the molecule has {len(found)} residues with both phi and psi; exactly one is "
            "needed: keep the atoms C(i-1), N, CA, C and N(i+1) of one residue."
        )
    return np.array(found[0])


def phi_psi(trajectory: mdtraj.Trajectory) -> np.ndarray:
    """Return phi and psi of every frame.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
        n frames of a peptide with one residue that has both torsions, or of a subset of its
        atoms that keeps the five backbone atoms.

    Returns
    -------
    ndarray, (n, 2), float64
        phi and psi in rad, on [-pi, pi].

    Raises
    ------
    MolflowError
        If the torsions cannot be found.
    """
    indices = phi_psi_indices(trajectory.topology)
    if trajectory.n_frames == 0:
        return np.zeros((0, 2))
    # Gas-phase molecules are whole; a box of a stray file must not fold them.
    angles = mdtraj.compute_dihedrals(trajectory, indices, periodic=False)
    return np.clip(angles.astype(np.float64), -np.pi, np.pi)
