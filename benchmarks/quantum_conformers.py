"""Conformers by ETKDG and a descent under the potential, with Boltzmann populations."""

from __future__ import annotations

import time

import mdtraj
import numpy as np
import openmm

from molflow.analysis.observables import basin_shares
from molflow.analysis.torsions import phi_psi
from molflow.md.build import build
from molflow.md.energies import fitting_platform
from molflow.md.minimise import minimise
from molflow.systems import MolecularSystem
from molflow.units import thermal_energy

#: Conformers that are embedded, kJ/mol/nm that a descent ends at, and radians within which two are
#: the same.
COUNT, TOLERANCE, SAME = 30, 1.0, 0.15


def embedded(system: MolecularSystem, count: int, seed: int) -> np.ndarray:
    """Return conformers by ETKDGv3 in the order of the system's atoms, (n, atoms, 3) nm."""
    from rdkit import Chem
    from rdkit.Chem import AllChem, rdDetermineBonds

    topology, positions = system.topology(), system.start_positions()
    lines = [str(topology.n_atoms), ""]
    for atom, place in zip(topology.atoms, 10.0 * positions, strict=True):
        lines.append(" ".join([atom.element.symbol, *(f"{value:.5f}" for value in place)]))
    molecule = Chem.MolFromXYZBlock("\n".join(lines))
    charge = 0 if system.potential is None else system.potential.charge
    rdDetermineBonds.DetermineBonds(molecule, charge=charge)
    Chem.AssignStereochemistryFrom3D(molecule)
    settings = AllChem.ETKDGv3()
    settings.randomSeed = seed + 1
    AllChem.EmbedMultipleConfs(molecule, count, settings)
    return 0.1 * np.array([one.GetPositions() for one in molecule.GetConformers()])


def conformers(system: MolecularSystem, seed: int, count: int = COUNT) -> dict:
    """Return the minima that were found, their populations, and what they cost."""
    begun = time.process_time()
    built, _ = build(system)
    context = openmm.Context(built, openmm.VerletIntegrator(0.001), fitting_platform(built))
    found = []
    for start in embedded(system, count, seed):
        context.setPositions(start)
        minimise(system, context, TOLERANCE)
        state = context.getState(energy=True, positions=True)
        found.append((state.getPotentialEnergy()._value, state.getPositions(asNumpy=True)._value))
    found.sort(key=lambda one: one[0])
    angles = phi_psi(mdtraj.Trajectory(np.array([x for _, x in found]), system.topology()))
    kept: list[int] = []
    for k in range(len(found)):
        gaps = [np.abs((angles[k] - angles[j] + np.pi) % (2 * np.pi) - np.pi).max() for j in kept]
        if min(gaps, default=np.inf) > SAME:
            kept.append(k)
    energies = np.array([found[k][0] for k in kept])
    weights = np.exp(-(energies - energies.min()) / thermal_energy(system.temperature))
    weights /= weights.sum()
    return {
        "embedded": len(found), "minima": len(kept),
        "rows": [
            {"phi_psi_degrees": np.degrees(angles[k]).round(1).tolist(),
             "energy_kj_mol": float(energy - energies.min()), "population": float(weight)}
            for k, energy, weight in zip(kept, energies, weights, strict=True)
        ],
        "basins": basin_shares(angles[kept], weights),
        "seconds": time.process_time() - begun,
    }  # fmt: skip
