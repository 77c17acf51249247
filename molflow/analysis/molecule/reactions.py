"""Molecules that reacted or broke: conformations whose bonds are not those of the bond graph."""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.analysis.molecule.graph import covalent_radii

#: A bond is broken from so many times the sum of the covalent radii, and made up to so many times.
_BROKEN, _MADE = 1.5, 1.15
#: Distances that are looked at together.
_BATCH = 5_000_000


def changed_bonds(topology: mdtraj.Topology, positions: np.ndarray) -> list[str]:
    """Return what happened to the bonds of every conformation; empty where nothing did.

    Parameters
    ----------
    topology : mdtraj.Topology
        With the bonds of the molecule.
    positions : ndarray, (n, n_atoms, 3)
        nm.

    Returns
    -------
    list of str
        Such as ``"the bond of atoms 4 and 5 broke"``. Thermal vibrations are far from the limits:
        a C-C bond counts as broken from 0.228 nm, two carbons count as bonded up to 0.175 nm.
    """
    radii = covalent_radii(topology)
    first, second = np.triu_indices(len(radii), 1)
    sums = radii[first] + radii[second]
    bonds = {tuple(sorted((a.index, b.index))) for a, b in topology.bonds}
    bonded = np.array([pair in bonds for pair in zip(first, second, strict=True)], dtype=bool)
    found: list[str] = []
    step = max(1, _BATCH // max(1, len(first)))
    for start in range(0, len(positions), step):
        part = positions[start : start + step].astype(np.float64)
        ratio = np.linalg.norm(part[:, first] - part[:, second], axis=-1) / sums
        broken, made = bonded & ~(ratio < _BROKEN), ~bonded & (ratio < _MADE)
        for one_broken, one_made in zip(broken, made, strict=True):
            if one_broken.any():
                k = int(one_broken.argmax())
                found.append(f"the bond of atoms {first[k]} and {second[k]} broke")
            elif one_made.any():
                k = int(one_made.argmax())
                found.append(f"atoms {first[k]} and {second[k]} came as close as a bond")
            else:
                found.append("")
    return found
