"""Metrics of potential energies."""

from __future__ import annotations

from molflow.analysis import energy_metrics as e
from molflow.analysis.metrics.entry import Metric, plain

ENTRIES = [
    Metric(
        "energy_w1", "Energy, Wasserstein-1", "energies", "kT",
        "Wasserstein-1 distance of the potential energies U/kT, uncropped.",
        "molflow; as POT's wasserstein_1d", plain(e.energy_w1),
    ),
    Metric(
        "energy_w2", "Energy, Wasserstein-2", "energies", "kT",
        "Wasserstein-2 distance of the potential energies U/kT, uncropped.",
        "FALCON, SBG and ECNF++ tables ('E-W2'), as POT's emd2_1d", plain(e.energy_w2),
    ),
    Metric(
        "energy_tail", "Energies beyond the reference", "energies", "share",
        "Share of samples above the reference's 99.9 % quantile; 0.001 is right.",
        "molflow", plain(e.energy_tail), better="0.001",
    ),
]  # fmt: skip
