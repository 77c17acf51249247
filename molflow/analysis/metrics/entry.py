"""What the registry knows about a metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Score = Callable[[np.ndarray, np.ndarray, np.random.Generator], float]

#: Kinds of data that metrics are functions of, and what an array of the kind holds.
KINDS = {
    "backbone": "phi and psi of every residue that has both, (n, residues, 2) rad",
    "torsions": "every torsion of the molecule, (n, torsions) rad",
    "tics": "the two slowest coordinates of the reference, (n, 2) in its standard deviations",
    "energies": "reduced potential energies U/kT, (n,)",
    "bond": "bond lengths, (n, bonds) nm",
    "angle": "bond angles, (n, angles) rad",
    "improper": "improper torsions, (n, impropers) rad",
    "relaxation": "normalised autocorrelation of the torsions at some lags, (lags,)",
    "passed": "whether each sample is valid, (n,) bool",
    "log_weights": "logarithms of importance weights of the model's samples, (n,)",
}


@dataclass(frozen=True)
class Metric:
    """One definition of a distance between two ensembles.

    Attributes
    ----------
    name : str
        Unambiguous: one name, one formula.
    title : str
        For people.
    data : str
        One of `KINDS`: what `score` is a function of.
    unit : str
    definition : str
        The formula in words.
    source : str
        Where the definition comes from.
    score : callable
        ``score(model, reference, rng)`` of two arrays of the kind `data`; the generator is used
        where samples are thinned at random.
    better : str
        ``smaller``, ``larger``, or the value that perfect samples have.
    slow : bool
        Exact optimal transport: seconds, whatever the number of samples.
    shown : bool
        Whether a comparison reports it unasked.
    """

    name: str
    title: str
    data: str
    unit: str
    definition: str
    source: str
    score: Score
    better: str = "smaller"
    slow: bool = False
    shown: bool = True

    def __call__(self, model: np.ndarray, reference: np.ndarray, seed: int = 0) -> float:
        """Return the score of two arrays of the kind `data`."""
        return self.score(np.asarray(model), np.asarray(reference), np.random.default_rng(seed))


def plain(function: Callable[[np.ndarray, np.ndarray], float]) -> Score:
    """Return a score that needs no random numbers."""
    return lambda model, reference, _: function(model, reference)


def first_line(function: Callable) -> str:
    """Return the sentence that opens a docstring."""
    return " ".join(function.__doc__.split("\n\n")[0].split())
