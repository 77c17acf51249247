"""The Boltzmann law of a molecule in the hand that it has, for one conformation at a time."""

from __future__ import annotations

import numpy as np
import openmm

from molflow.errors import MolflowError
from molflow.exact.subspace import helmert
from molflow.md.build import build
from molflow.md.energies import fitting_platform
from molflow.systems import MolecularSystem
from molflow.units import thermal_energy


class BoltzmannLaw:
    """U/kT and its gradient in coordinates q of the centred subspace, positions being B q.

    Energies are blind to reflection, of the molecule and of its parts (the hydrogens of a methyl
    group numbered the other way round), and dynamics never crosses between such copies. The law is
    therefore restricted to the copy of the system's own structure: the energy is infinite where a
    carbon or nitrogen with four neighbours has another hand than there.

    Parameters
    ----------
    system : MolecularSystem
        All atoms.
    unit : float
        nm, the unit of length of q.

    Attributes
    ----------
    kt : float
        kJ/mol.
    basis : ndarray, (3 n_atoms, d)
        B, orthonormal columns.

    Raises
    ------
    MolflowError
        If the system has constraints or virtual sites: such a law has no density in coordinates of
        all atoms, and what its energy says of lengths that are held is nothing.
    """

    def __init__(self, system: MolecularSystem, unit: float):
        built, _ = build(system)
        particles = range(built.getNumParticles())
        constraints = built.getNumConstraints()
        sites = sum(built.isVirtualSite(particle) for particle in particles)
        if constraints or sites:
            raise MolflowError(
                f"the system '{system.name}' has {constraints} constraints and {sites} virtual "
                "sites, and weights are for free atoms: choose constraints: none and a force field "
                "without virtual sites, for the training set too."
            )
        platform = fitting_platform(built)
        properties = {"Threads": "1"} if platform.getName() == "CPU" else {}
        integrator = openmm.VerletIntegrator(0.001)  # a context needs one
        self._context = openmm.Context(built, integrator, platform, properties)
        self.kt = thermal_energy(system.temperature)
        self._unit, self.basis = unit, helmert(len(particles))
        self.centres, self.hands = hands_of(system)

    def to_positions(self, q: np.ndarray) -> np.ndarray:
        """Return centred positions (n_atoms, 3) in nm."""
        return self._unit * (self.basis @ q).reshape(-1, 3)

    def right_handed(self, positions: np.ndarray) -> bool:
        """Return whether all hands of positions (n_atoms, 3) are those of the structure."""
        return bool((_signs(positions, self.centres) == self.hands).all())

    def __call__(self, q: np.ndarray) -> tuple[float, np.ndarray]:
        """Return U/kT and its gradient (d,) at q (d,); infinite outside the law's own hand."""
        positions = self.to_positions(q)
        if not np.isfinite(positions).all() or not self.right_handed(positions):
            return np.inf, np.zeros_like(q)
        self._context.setPositions(positions)
        state = self._context.getState(energy=True, forces=True)
        energy = state.getPotentialEnergy()._value / self.kt
        forces = state.getForces(asNumpy=True)._value
        gradient = -self._unit / self.kt * (forces.ravel() @ self.basis)
        return (energy if np.isfinite(energy) else np.inf), gradient


def hands_of(system: MolecularSystem) -> tuple[np.ndarray, np.ndarray]:
    """Return the tetrahedral atoms of a system and their hands in its structure.

    Returns
    -------
    centres : ndarray, (k, 4) int
        An atom with four neighbours and the first three of these.
    hands : ndarray, (k,)
        Signs of their triple products.
    """
    topology = system.topology()
    around: dict[int, list[int]] = {}
    for one, other in topology.bonds:
        around.setdefault(one.index, []).append(other.index)
        around.setdefault(other.index, []).append(one.index)
    rows = [(atom, *sorted(near)[:3]) for atom, near in sorted(around.items()) if len(near) == 4]
    centres = np.array(rows, dtype=int).reshape(-1, 4)
    return centres, _signs(system.start_positions().astype(np.float64), centres)


def _signs(positions: np.ndarray, centres: np.ndarray) -> np.ndarray:
    a, b, c = (positions[centres[:, k]] - positions[centres[:, 0]] for k in (1, 2, 3))
    return np.sign(np.einsum("ij,ij->i", a, np.cross(b, c)))
