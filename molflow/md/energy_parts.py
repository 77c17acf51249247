"""Energy of every force by itself, over evenly spaced configurations of a stream."""

from __future__ import annotations

import numpy as np

from molflow.analysis.weighting import part_of, quantile
from molflow.md.energies import EnergyWorkers

#: Configurations of which the forces are evaluated one by one.
SAMPLED = 1_000


class EnergyParts:
    """Energies of a stream of configurations, and the parts of those of some of them.

    Parameters
    ----------
    workers : EnergyWorkers
    n : int
        Configurations in all; `SAMPLED` of them, evenly spaced, are taken apart.
    """

    def __init__(self, workers: EnergyWorkers, n: int):
        self.workers, self.stride, self.seen = workers, max(1, n // SAMPLED), 0
        self.parts: dict[str, list[np.ndarray]] = {}
        self.rows: list[np.ndarray] = []

    def energies(self, positions: np.ndarray) -> np.ndarray:
        """Return potential energies (n,) in kJ/mol of the next configurations (n, n_atoms, 3)."""
        rows = np.arange(-self.seen % self.stride, len(positions), self.stride)
        chosen = positions[rows]
        self.rows.append(rows + self.seen)
        self.seen += len(positions)
        if len(chosen):
            for name, values in self.workers.by_force(chosen).items():
                self.parts.setdefault(name, []).append(values)
        return self.workers.energies(positions)

    def medians(self, weights: np.ndarray | None = None) -> dict[str, float]:
        """Return the median energy of every force, kJ/mol; a few broken samples do not move it.

        `weights` are those of all configurations that were streamed, (seen,).
        """
        joined = {name: np.concatenate(values) for name, values in self.parts.items()}
        found = {}
        for name, values in joined.items():
            finite = np.isfinite(values)
            if weights is None and finite.any():
                found[name] = float(np.median(values[finite]))
            elif finite.any():
                own = part_of(weights, np.concatenate(self.rows)[finite])
                found[name] = float(quantile(values[finite], 0.5, own))
        return found
