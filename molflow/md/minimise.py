"""Descents to a minimum of the energy, careful ones where the energy has an end."""

from __future__ import annotations

import time

import numpy as np
import openmm
from openmm import unit

from molflow.systems import MolecularSystem

#: nm, the length of the first step, and how many of them an atom may move in all.
_STEP, _FARTHEST = 0.002, 100.0
#: Iterations if it is not said how many.
_ITERATIONS = 500
#: Iterations that are made whatever time they take: what is strained is not left so.
_FEWEST = 10


def minimise(
    system: MolecularSystem,
    context: openmm.Context,
    tolerance: float = 10.0,
    iterations: int = 0,
    seconds: float | None = None,
) -> bool:
    """Move the positions of a context to a minimum of the energy.

    Force fields are left to OpenMM. Its first step is as long as a molecule, which costs them
    nothing; an SCF does not converge there, so that descents under a potential begin with short
    steps and come back from where there is no energy.

    Parameters
    ----------
    system : MolecularSystem
        Of the context.
    context : openmm.Context
    tolerance : float
        Of the root mean square of the force, kJ/mol/nm.
    iterations : int
        At most; 0 until it is there, for potentials 500.
    seconds : float, optional
        Of wall-clock time, after which the descent ends where it is, after ten iterations at least.

    Returns
    -------
    bool
        Whether it came to its end before the time did.

    Raises
    ------
    openmm.OpenMMException
        If there is no energy where it starts.
    """
    end = _End(seconds)
    if system.potential is None:
        openmm.LocalEnergyMinimizer.minimize(
            context, tolerance, iterations, None if seconds is None else end
        )
        return not end.reached
    from scipy.optimize import minimize

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        context.setPositions(x)
        state = context.getState(energy=True, forces=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        return energy, state.getForces(asNumpy=True)._value

    start = context.getState(positions=True).getPositions(asNumpy=True)._value
    first, force = evaluate(start)
    wall = 1e3 + _STEP * float(np.abs(force).sum())

    def scaled(y: np.ndarray) -> tuple[float, np.ndarray]:
        try:
            energy, force = evaluate(start + _STEP * y.reshape(start.shape))
        except openmm.OpenMMException:
            return wall, np.zeros_like(y)  # high enough to be left at once
        return energy - first, -_STEP * force.ravel()

    found = minimize(
        scaled, np.zeros(start.size), jac=True, method="L-BFGS-B",
        bounds=[(-_FARTHEST, _FARTHEST)] * start.size, callback=lambda xk: end.stop(),
        options={"maxiter": iterations or _ITERATIONS, "gtol": _STEP * tolerance},
    )  # fmt: skip
    best = found.x if found.fun < 0.0 else np.zeros(start.size)
    context.setPositions(start + _STEP * best.reshape(start.shape))
    return not end.reached


class _End(openmm.MinimizationReporter):
    """Ends a descent by the clock, OpenMM's or scipy's."""

    def __init__(self, seconds: float | None):
        super().__init__()
        self.end = float("inf") if seconds is None else time.monotonic() + seconds
        self.iterations, self.reached = 0, False

    def report(self, iteration: int, x, gradient, parameters) -> bool:
        """Return whether to end it, as OpenMM asks after each iteration."""
        self.iterations += 1
        self.reached = self.iterations >= _FEWEST and time.monotonic() > self.end
        return self.reached

    def stop(self) -> None:
        """Raise `StopIteration` to end it, as scipy understands it after each iteration."""
        if self.report(self.iterations, None, None, None):
            raise StopIteration
