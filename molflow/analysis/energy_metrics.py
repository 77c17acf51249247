"""Distances between the reduced energies U/kT of two sets of conformations."""

from __future__ import annotations

import numpy as np

from molflow.analysis import weighting
from molflow.analysis.transport_1d import wasserstein_1d
from molflow.units import thermal_energy


def reduced_energies(energies: np.ndarray, temperature: float) -> np.ndarray:
    """Return U/kT from potential energies in kJ/mol at a temperature in K; shape kept."""
    return np.asarray(energies, np.float64) / thermal_energy(temperature)


def energy_w1(model, reference, model_weights=None, reference_weights=None) -> float:
    """Wasserstein-1 distance between reduced energies (n,) and (m,), kT; uncropped."""
    return float(wasserstein_1d(model, reference, 1, model_weights, reference_weights))


def energy_w2(model, reference, model_weights=None, reference_weights=None) -> float:
    """Wasserstein-2 distance between reduced energies (n,) and (m,), kT; uncropped."""
    return float(wasserstein_1d(model, reference, 2, model_weights, reference_weights))


def energy_tail(model, reference, model_weights=None, reference_weights=None) -> float:
    """Share of the model's energies above the reference's 99.9 % quantile; 0.001 is right."""
    limit = weighting.quantile(np.asarray(reference), 0.999, reference_weights)
    return weighting.share(np.asarray(model) > limit, model_weights)
