"""Metadynamics: its free energy against quadrature, and resuming."""

import numpy as np
import pytest

from molflow.errors import MolflowError
from molflow.files import read_arrays
from molflow.md.metadynamics import MetadynamicsPlan, delta_f_alpha_l, metadynamics
from molflow.systems import load_system

TINY = MetadynamicsPlan(runs=2, time=4.0, snapshots=4, grid=13)


def test_free_energy_of_a_known_surface():
    """Wells in phi with known weights: von Mises densities about -1.5 and 1, coupled to psi."""
    kt, edge = 2.5, np.linspace(-np.pi, np.pi, 721)
    phi, psi = edge[None, :], edge[:, None]
    density = 0.9 * np.exp(30 * (np.cos(phi + 1.5) - 1) + 2 * np.cos(psi)) + 0.1 * np.exp(
        30 * (np.cos(phi - 1.0) - 1) + 2 * np.cos(psi - 1.0)
    )
    surface = -kt * np.log(density)
    # The first half of the snapshots does not count, nor does a constant.
    surfaces = np.stack([0 * surface, 0 * surface, surface + 0.3, surface - 40.0])
    expected = -np.log(0.1 / 0.9)
    assert delta_f_alpha_l(surfaces, kt) == pytest.approx(expected, abs=2e-3)


def test_runs_are_kept_and_reproduced(tmp_path):
    system = load_system("alanine_dipeptide")
    whole = metadynamics(system, tmp_path / "a", TINY, jobs=1)
    first = read_arrays(tmp_path / "a" / "run-0.npz")["free_energy"]
    second = read_arrays(tmp_path / "a" / "run-1.npz")["free_energy"]
    assert first.shape == (4, 13, 13) and np.abs(first - second).max() > 0.1
    # Gaussians of 1 kJ/mol at most are deposited each 0.5 ps; 1.2 undoes the tempering.
    assert -1.2 * 8.0 <= first.min() < -0.5 and first.max() <= 1e-9
    assert len(whole["delta_f_alpha_l"]["by_run"]) == 2
    (tmp_path / "a" / "run-1.npz").unlink()
    again = metadynamics(system, tmp_path / "a", TINY, jobs=1)
    assert again["delta_f_alpha_l"] == whole["delta_f_alpha_l"]
    other = MetadynamicsPlan(runs=2, time=4.0, snapshots=4, grid=13, seed=5)
    with pytest.raises(MolflowError, match="another ensemble or plan"):
        metadynamics(system, tmp_path / "a", other, jobs=1)
