"""Langevin dynamics under OpenMM's forces, driven by a Brownian path from outside."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import openmm

from molflow.errors import MolflowError
from molflow.md.build import build
from molflow.md.energies import fitting_platform
from molflow.systems import MolecularSystem
from molflow.units import thermal_energy


@dataclass(frozen=True)
class Scheme:
    """One step as lines of OpenMM's `CustomIntegrator`, and what it must know of the path.

    Attributes
    ----------
    features : tuple of str
        ``W`` the increment, ``E1`` = ∫ exp(−γ (t − u)) dW and ``E2`` = (W − E1)/γ.
    lines : tuple of (str, str)
        Variable and expression, in order. ``q`` is exp(−γ h), ``s`` sqrt(2 γ kT).
    """

    features: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]


_KICK = ("v", "v + 0.5*dt*f/m")
_DRIFT = ("x", "x + 0.5*dt*v")

#: Schemes by name. Pathwise Euler-Maruyama and BAOAB are of order 1, BUB of order 2: half a kick,
#: the motion without force exactly, half a kick.
SCHEMES = {
    "euler_maruyama": Scheme(
        ("W",),
        (
            ("moved", "x + dt*v"),
            ("v", "v + dt*(f/m - friction*v) + s*W/sqrt(m)"),
            ("x", "moved"),
        ),
    ),
    "baoab": Scheme(("E1",), (_KICK, _DRIFT, ("v", "q*v + s*E1/sqrt(m)"), _DRIFT, _KICK)),
    "bub": Scheme(
        ("E1", "E2"),
        (
            _KICK,
            ("x", "x + (1 - q)/friction*v + s*E2/sqrt(m)"),
            ("v", "q*v + s*E1/sqrt(m)"),
            _KICK,
        ),
    ),
}


class DrivenDynamics:
    """Walks one molecule along a given path, in double precision.

    dX = V dt, dV = (F/m − γ V) dt + sqrt(2 γ kT/m) dW with one Brownian motion for each coordinate
    of each atom. Motion of the centre of mass is kept.

    Parameters
    ----------
    system : MolecularSystem
        All atoms, without constraints or virtual sites.
    scheme : str
        A name of `SCHEMES`.
    step : float
        Length of a step, ps.
    temperature, friction : float, optional
        K and 1/ps; by default the system's.

    Raises
    ------
    MolflowError
        If the system has constraints or virtual sites or keeps only some atoms, or a number is
        not positive.
    """

    def __init__(
        self,
        system: MolecularSystem,
        scheme: str,
        step: float,
        temperature: float | None = None,
        friction: float | None = None,
    ):
        if scheme not in SCHEMES:
            raise MolflowError(f"scheme is '{scheme}': choose one of {', '.join(SCHEMES)}.")
        temperature = system.temperature if temperature is None else temperature
        friction = system.friction if friction is None else friction
        for name, value, unit in (
            ("step", step, "ps"), ("temperature", temperature, "K"), ("friction", friction, "1/ps")
        ):  # fmt: skip
            if not 0 < value < math.inf:
                raise MolflowError(f"{name} is {value}: give a positive number, in {unit}.")
        self.features = SCHEMES[scheme].features
        built = _free(system)
        self.n_atoms = built.getNumParticles()
        self.masses = [built.getParticleMass(atom)._value for atom in range(self.n_atoms)]
        integrator = openmm.CustomIntegrator(step)
        integrator.addGlobalVariable("friction", friction)
        integrator.addGlobalVariable("q", math.exp(-friction * step))
        integrator.addGlobalVariable("s", math.sqrt(2 * friction * thermal_energy(temperature)))
        for name in (*self.features, "moved"):
            integrator.addPerDofVariable(name, 0.0)
        for name, expression in SCHEMES[scheme].lines:
            integrator.addComputePerDof(name, expression)
        self._integrator = integrator
        self._context = openmm.Context(built, integrator, fitting_platform(built))

    def walk(
        self, positions: np.ndarray, velocities: np.ndarray, features: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and velocities after as many steps as there are features.

        Parameters
        ----------
        positions, velocities : ndarray, (n_atoms, 3)
            nm and nm/ps.
        features : dict of str to ndarray, (steps, n_atoms, 3)
            What the scheme needs of the path on each step: ``W`` and ``E1`` in ps^(1/2), ``E2`` in
            ps^(3/2).

        Raises
        ------
        MolflowError
            If a feature is missing, shapes do not fit, or a coordinate is no longer finite.
        """
        missing = [name for name in self.features if name not in features]
        if missing:
            raise MolflowError(
                f"the path gives {', '.join(features) or 'nothing'}, but the scheme also needs "
                f"{', '.join(missing)} of each step."
            )
        wanted = [np.asarray(features[name], np.float64) for name in self.features]
        shape = (len(wanted[0]), self.n_atoms, 3)
        for name, values in zip(self.features, wanted, strict=True):
            if values.shape != shape:
                raise MolflowError(
                    f"{name} of the path has the shape {values.shape}: give {shape}, steps, atoms "
                    "and coordinates."
                )
        self._context.setPositions(np.asarray(positions, np.float64))
        self._context.setVelocities(np.asarray(velocities, np.float64))
        for each in zip(*wanted, strict=True):
            for name, values in zip(self.features, each, strict=True):
                self._integrator.setPerDofVariableByName(name, values)
            self._integrator.step(1)
        state = self._context.getState(positions=True, velocities=True)
        found = state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value
        if not np.isfinite(found).all():
            raise MolflowError(
                f"the walk of {shape[0]} steps blew up, coordinates are no longer finite: take "
                "shorter steps."
            )
        return np.array(found[0]), np.array(found[1])


def _free(system: MolecularSystem) -> openmm.System:
    """Return the OpenMM system of a molecule in which every atom obeys the equation."""
    if system.variant is not None:
        raise MolflowError(
            f"'{system.label}' keeps only some atoms and has no force field: use '{system.name}'."
        )
    built, _ = build(system)
    atoms = range(built.getNumParticles())
    sites = sum(built.isVirtualSite(atom) for atom in atoms)
    if built.getNumConstraints() or sites:
        raise MolflowError(
            f"the system '{system.name}' has {built.getNumConstraints()} constraints and {sites} "
            "virtual sites, and this dynamics is of free atoms: choose constraints: none and a "
            "force field without virtual sites."
        )
    return built
