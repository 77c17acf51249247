"""The Gaussian that touches a law at its mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

#: value and gradient (d,) of minus the logarithm of a density at a point (d,).
Potential = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Laplace:
    """N(mode, L Lᵀ), in whose coordinates x = mode + L ξ a law is nearly standard normal.

    Attributes
    ----------
    mode : ndarray, (d,)
    factor : ndarray, (d, d)
        L.
    height : float
        The potential at the mode.
    calls : int
        Evaluations of the potential that it took.
    """

    mode: np.ndarray
    factor: np.ndarray
    height: float
    calls: int

    @property
    def log_volume(self) -> float:
        """ln of (2π)^(d/2) |det L|, the integral of exp(-|ξ|²/2) over x."""
        return 0.5 * len(self.mode) * np.log(2.0 * np.pi) + np.linalg.slogdet(self.factor)[1]


def laplace(
    potential: Potential, start: np.ndarray, step: float, least_curvature: float
) -> Laplace:
    """Find the mode by L-BFGS and the curvature there by differences of gradients.

    Parameters
    ----------
    potential : callable
    start : ndarray, (d,)
    step : float
        Of the differences, in the unit of x.
    least_curvature : float
        Curvatures below are raised to it, so that the Gaussian is never too wide.
    """
    calls = 0

    def counted(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal calls
        calls += 1
        return potential(x)

    found = minimize(
        counted, start, jac=True, method="L-BFGS-B",
        options={"maxiter": 200, "maxcor": 20, "ftol": 1e-9, "gtol": 1e-2 / step * 1e-3},
    )  # fmt: skip
    mode = found.x
    height, slope = counted(mode)
    rows = np.array([counted(mode + step * direction)[1] for direction in np.eye(len(mode))])
    curvature = (rows - slope) / step
    values, axes = np.linalg.eigh(0.5 * (curvature + curvature.T))
    factor = axes / np.sqrt(np.maximum(values, least_curvature))
    return Laplace(mode, factor, height, calls)
