"""What the registry knows about a metric."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from molflow.errors import MolflowError

Score = Callable[..., float]

#: Kinds of data that metrics are functions of, and what an array of the kind holds.
KINDS = {
    "backbone": "phi and psi of every residue that has both, (n, residues, 2) rad",
    "torsions": "every torsion of the molecule, (n, torsions) rad",
    "tics": "the two slowest coordinates of the reference, (n, 2) in its standard deviations",
    "pcs": "the two first principal components of a weighted reference, (n, 2) in its standard "
    "deviations",
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
        where samples are thinned at random. If it takes two more arguments, they are the weights
        of both sides, arrays (n,) that sum to 1 or None; if not, it is for unweighted data alone.
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

    @property
    def weighted(self) -> bool:
        """Whether `score` takes weights."""
        return _takes(self.score, 5)

    def of(
        self,
        model: np.ndarray,
        reference: np.ndarray,
        rng: np.random.Generator,
        model_weights: np.ndarray | None = None,
        reference_weights: np.ndarray | None = None,
    ) -> float:
        """Return the score of two arrays of the kind `data`, with weights where there are any.

        Raises
        ------
        MolflowError
            If there are weights and `score` does not take them.
        """
        if model_weights is None and reference_weights is None:
            return self.score(model, reference, rng)
        if not self.weighted:
            raise MolflowError(
                f"{self.name} does not take weights: resample the weighted side first (molflow "
                "resample)."
            )
        return self.score(model, reference, rng, model_weights, reference_weights)

    def __call__(
        self,
        model: np.ndarray,
        reference: np.ndarray,
        seed: int = 0,
        model_weights: np.ndarray | None = None,
        reference_weights: np.ndarray | None = None,
    ) -> float:
        """Return the score of two arrays of the kind `data`; weights (n,) need not sum to 1.

        Raises
        ------
        MolflowError
            If there are weights and the metric does not take them.
        """
        given = (model_weights, reference_weights)
        weights = [None if w is None else np.asarray(w, np.float64) / np.sum(w) for w in given]
        rng = np.random.default_rng(seed)
        return self.of(np.asarray(model), np.asarray(reference), rng, *weights)


def _takes(function: Callable, arguments: int) -> bool:
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except TypeError:
        return False
    return True


def plain(function: Callable[..., float]) -> Score:
    """Return a score that needs no random numbers; it takes weights if the function does."""
    if not _takes(function, 4):
        return lambda model, reference, _: function(model, reference)
    return lambda model, reference, _, *weights: function(model, reference, *weights)


def first_line(function: Callable) -> str:
    """Return the sentence that opens a docstring."""
    return " ".join((function.__doc__ or "").split("\n\n")[0].split())
