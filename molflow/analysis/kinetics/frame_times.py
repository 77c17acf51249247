"""Which times the conformations of an ensemble are of, and whether their order can be judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molflow.analysis.files.ensemble import EnsembleFile, interval_of
from molflow.analysis.reference import Reference

#: Share of the steps from frame to frame that may go back in time where parts were joined.
_MOST_BACK = 0.1
_GIVE = "if it is a trajectory, give the time between its frames (--frame-interval 1ps)."


@dataclass(frozen=True)
class FrameTimes:
    """The times of an ensemble's conformations.

    Attributes
    ----------
    interval_ps : float
        Between conformations.
    runs : ndarray, (n,) int
        Which of several trajectories, one after the other, each is of.
    said : bool
        Whether the caller or a record says that they are frames of trajectories. A file may have
        times only because its format cannot do without.
    back : int
        Steps from one to the next that go back in time.
    """

    interval_ps: float
    runs: np.ndarray
    said: bool
    back: int = 0

    @property
    def shuffled(self) -> bool:
        """Whether they do not stand in the order of their times."""
        return self.back > _MOST_BACK * len(self.runs)


def frame_times(
    given: EnsembleFile, times: list[np.ndarray], reference: Reference, interval_ps: float | None
) -> tuple[FrameTimes | None, list[str]]:
    """Return the times of an ensemble and what should be noted of them and of the reference's.

    Parameters
    ----------
    given : EnsembleFile
    times : list of ndarray
        Those in its file, ps, piece after piece.
    reference : Reference
    interval_ps : float or None
        What the caller says of the time between the ensemble's frames.

    Returns
    -------
    FrameTimes or None
        None if the order in time cannot be judged, or is none, as of samples of a map.
    """
    found, notes = _of_ensemble(given, np.concatenate(times), interval_ps)
    if found is None or found.shuffled:
        return found, notes
    reason = None
    if reference.provenance.get("times") is not None:
        reason = "are not equally spaced"
    elif reference.frame_interval_ps is None:
        reason = "are not known"
    if reason is not None:
        notes.append(
            f"The times of the frames of the reference '{reference.system}' {reason}, so the order "
            "in time is not judged."
        )
        return (found if interval_ps is not None else None), notes
    plan = reference.provenance.get("simulation", {}).get("plan", {})
    if len(plan.get("temperatures", ())) > 1:
        exchange = (
            "The reference was made by replica exchange: its frames change places between "
            "temperatures, so only ensembles made in the same way relax as it does"
        )
        if interval_ps is None:
            return None, [*notes, f"{exchange}, and the order in time is not judged."]
        notes.append(f"{exchange}.")
    return found, notes


def _of_ensemble(
    given: EnsembleFile, times: np.ndarray, interval_ps: float | None
) -> tuple[FrameTimes | None, list[str]]:
    one = np.zeros(given.n, int)
    if given.record:  # molflow numbers the frames that it writes
        chains, frames = (given.record.get(k, 0) for k in ("chains", "frames_per_chain"))
        if interval_ps is None and chains * frames == given.n:
            runs = np.repeat(np.arange(chains), frames)
            return FrameTimes(given.record["frame_interval_ps"], runs, True), []
        return (None if interval_ps is None else FrameTimes(interval_ps, one, True)), []
    timed, own = given.timed and given.path is not None, None
    if timed:
        own = interval_of(times)
    if interval_ps is None:
        if not timed:
            return None, [f"No times are known of the ensemble's frames: {_GIVE}"]
        with np.errstate(invalid="ignore"):
            back = int((np.diff(times) < 0).sum())
        if own is not None or back > _MOST_BACK * given.n:
            return FrameTimes(own or np.nan, one, False, back), []
        return None, [
            "The times in the ensemble's file are not equally spaced, so its order in time is not "
            f"judged: {_GIVE}"
        ]
    notes = []
    if timed and own is None:
        notes.append(
            "The times in the ensemble's file are not equally spaced, and its frames were taken to "
            f"be {interval_ps:g} ps apart, as was said."
        )
    elif own is not None and abs(own - interval_ps) > 1e-3 * own:
        notes.append(
            f"The frames of the ensemble were taken to be {interval_ps:g} ps apart, as was said; "
            f"the times in its file are {own:g} ps apart."
        )
    return FrameTimes(interval_ps, one, True), notes
