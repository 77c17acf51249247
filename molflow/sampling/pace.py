"""How many batches of conformations there is time for, and whether for their energies."""

from __future__ import annotations

import time

import numpy as np

from molflow.sampling.energies import force_field_of
from molflow.training.checkpoint import Checkpoint

#: Conformations of the first batch whose energies are timed.
_PROBE = 8


class Pace:
    """Follows the drawing of batches, from its making on.

    Parameters
    ----------
    seconds : float
        Of wall-clock time, for drawing and energies.
    checkpoint : Checkpoint
    energies : bool
        Whether they are wanted.
    """

    def __init__(self, seconds: float, checkpoint: Checkpoint, energies: bool):
        self.seconds, self.checkpoint, self.energies = seconds, checkpoint, energies
        self.begun = time.monotonic()
        self.batches, self.drawing, self.probing = 0, 0.0, 0.0
        self.of_energies: float | None = None
        #: Why energies are left out, a sentence; empty where they are not.
        self.no_energies = ""

    def over(self, batch: np.ndarray) -> bool:
        """Return whether no further batch fits in, after one at unit scale, (n, atoms, 3) nm."""
        self.batches += 1
        self.drawing = time.monotonic() - self.begun - self.probing
        if self.of_energies is None:
            self.of_energies = self._time_energies(batch)
        a_batch = self.drawing / self.batches + self.of_energies
        return self.probing + (self.batches + 1) * a_batch > self.seconds

    def _time_energies(self, batch: np.ndarray) -> float:
        """Return the seconds that energies of a batch take, and decide whether there are any.

        Those of a force field take no time beside the network; those of conformations that are not
        yet good may take a potential many times what they take in dynamics.
        """
        system = force_field_of(self.checkpoint) if self.energies else None
        if system is None or system.potential is None:
            return 0.0
        from molflow.md.energies import potential_energies

        some = batch[:_PROBE]
        some = some[np.isfinite(some).all(axis=(1, 2))]
        begun = time.monotonic()
        if len(some):
            potential_energies(system, some, jobs=1)
        self.probing = time.monotonic() - begun
        taken = self.probing * len(batch) / max(1, len(some))
        if self.drawing + taken > self.seconds:
            self.no_energies = (
                f"Energies were left out: those of {len(batch)} conformations would take "
                f"{taken:.0f} s, and {max(0.0, self.seconds - self.drawing):.0f} s were left."
            )
            return 0.0
        return taken
