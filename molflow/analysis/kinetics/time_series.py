"""Torsions in the order of time: what kinetics needs and an ensemble alone cannot give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molflow.analysis.reference import Reference
from molflow.errors import MolflowError

#: A piece for the bootstrap is at least this many times as long as the longest lag.
_LAGS_A_PIECE = 10
#: Pieces beyond which cutting runs shorter gains nothing.
_ENOUGH_PIECES = 60


@dataclass(frozen=True)
class TorsionSeries:
    """Torsions of independent runs of plain dynamics.

    Attributes
    ----------
    runs : tuple of ndarray, each (frames, k)
        rad, equally spaced in time.
    interval : float
        Time between frames, ps.
    system, ensemble_hash : str
        What was simulated.
    """

    runs: tuple[np.ndarray, ...]
    interval: float
    system: str = ""
    ensemble_hash: str = ""

    def __post_init__(self) -> None:
        if not self.runs or min(map(len, self.runs)) < 2 or not self.interval > 0:
            raise MolflowError(
                f"a series of {len(self.runs)} runs at an interval of {self.interval} ps is not "
                "usable: give at least one run of two frames, and a positive interval."
            )

    @property
    def frames(self) -> int:
        """Number of frames of all runs."""
        return sum(map(len, self.runs))

    @property
    def length(self) -> float:
        """Length of all runs together, ps."""
        return self.frames * self.interval

    def lag(self, time: float) -> int:
        """Return a lag time in ps as a lag in frames.

        Raises
        ------
        MolflowError
            If it is not a whole number of frames, or no run is longer.
        """
        lag = round(time / self.interval)
        if lag < 1 or abs(lag * self.interval - time) > 1e-6 * time:
            raise MolflowError(
                f"a lag time of {time:g} ps is not a whole number of frames of "
                f"{self.interval:g} ps: choose a multiple."
            )
        if lag >= max(map(len, self.runs)):
            raise MolflowError(
                f"a lag time of {time:g} ps is longer than the longest run, "
                f"{max(map(len, self.runs)) * self.interval:g} ps: choose a shorter one."
            )
        return lag

    def features(self) -> list[np.ndarray]:
        """Return cos and sin of every torsion, (frames, 2 k) a run."""
        return [torsion_features(run) for run in self.runs]


def torsion_features(torsions: np.ndarray) -> np.ndarray:
    """Return cosines and then sines, (n, 2 k), of torsions (n, k) in rad."""
    return np.concatenate([np.cos(torsions), np.sin(torsions)], axis=1).astype(np.float64)


def time_ordered(reference: Reference, taken_as_plain: bool = False) -> TorsionSeries:
    """Return the torsions of a reference that was made by plain molecular dynamics.

    Parameters
    ----------
    reference : Reference
    taken_as_plain : bool
        Whether a reference that does not say how it was made is taken to be plain dynamics.

    Raises
    ------
    MolflowError
        If it is weighted, if it was made by tempering, whose frames of one temperature come from
        walkers that jump, or if how it was made is not recorded.
    """
    if reference.log_weights is not None:
        raise MolflowError(
            f"the reference of '{reference.system}' is weighted: its runs moved under a bias, so "
            "it has populations and no kinetics. Make a second one with 'molflow simulate' without "
            "a bias."
        )
    plan = reference.provenance.get("simulation", {}).get("plan", {})
    temperatures = plan.get("temperatures")
    if temperatures is None and not taken_as_plain:
        raise MolflowError(
            f"how the reference of '{reference.system}' was made is not recorded, so its frames "
            "may not follow each other in time: make one with 'molflow simulate', without "
            "tempering."
        )
    if len(temperatures or ()) > 1:
        raise MolflowError(
            f"the reference of '{reference.system}' was made by tempering over "
            f"{len(temperatures)} temperatures: its frames follow jumps between walkers, so it has "
            "the right populations and no kinetics. Make a second one with 'molflow simulate' "
            "without --tempering."
        )
    runs = tuple(reference.torsions[reference.replica == run] for run in reference.runs)
    interval = reference.frame_interval_ps
    if reference.provenance.get("times") is not None:
        raise MolflowError(
            f"the times of the frames of '{reference.system}' are "
            f"{reference.provenance['times']}: kinetics need a series without gaps."
        )
    if interval is None:
        raise MolflowError(
            f"the time between the frames of the reference of '{reference.system}' is not "
            "recorded: give it as frame_interval."
        )
    return TorsionSeries(runs, interval, reference.system, reference.ensemble_hash or "")


def pieces(runs: list[np.ndarray], longest_lag: int) -> list[np.ndarray]:
    """Cut runs into pieces that are nearly independent, the members of a bootstrap.

    Parameters
    ----------
    runs : list of ndarray, each (frames, ...)
    longest_lag : int
        Frames; a piece is at least ten times as long, and a run that is shorter stays whole.

    Returns
    -------
    list of ndarray
        At least one for each run, of equal length within it.
    """
    total = sum(map(len, runs))
    least = max(_LAGS_A_PIECE * longest_lag, total // _ENOUGH_PIECES, 1)
    return [part for run in runs for part in np.array_split(run, max(1, len(run) // least))]


def draw_weights(count: int, draws: int, seed: int) -> np.ndarray:
    """Return how often each of `count` pieces is drawn in each bootstrap, (draws, count) int."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=draws)
