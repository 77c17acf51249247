"""Do the samples reach energies that molecular dynamics does not?"""

from __future__ import annotations

import numpy as np

from molflow.analysis.energy_metrics import reduced_energies
from molflow.checking.finding import INCONCLUSIVE, Finding, judge, share_interval
from molflow.checking.subject import Subject

#: Largest share of samples above the reference's 99.9 % quantile, of which 0.1 % are right.
LIMIT = 0.01
QUANTILE = 0.999


def energy_tail(subject: Subject) -> Finding:
    """Count the samples above the 99.9 % quantile of the potential energies of reference MD."""
    what = "energy_tail", "Energy tail"
    if subject.force_field is None:
        return Finding(
            *what, INCONCLUSIVE,
            f"There are no potential energies to judge. {subject.no_force_field}", None, LIMIT,
        )  # fmt: skip
    truth, name = subject.reference, subject.force_field.name
    known = None if truth is None else truth.energies
    temperature = None if truth is None else truth.temperature
    if known is None or temperature is None:
        return Finding(
            *what, INCONCLUSIVE,
            f"The system '{name}' has no reference MD here to compare energies "
            "with.", None, LIMIT,
        )  # fmt: skip
    threshold = float(np.quantile(known, QUANTILE))
    beyond = int(np.sum(~(subject.energies <= threshold)))
    n = len(subject.energies)
    interval = share_interval(beyond, n)
    verdict = judge(interval, LIMIT)
    sentence = (
        f"{beyond:,} of {n:,} samples lie above the energy that MD exceeds in one frame of a "
        f"thousand, {n * (1 - QUANTILE):.1f} would be right"
    )
    if verdict == INCONCLUSIVE:
        sentence += "; the samples are too few to judge"
    reduced = reduced_energies(subject.energies, temperature)
    reference = reduced_energies(known, temperature)
    return Finding(
        *what, verdict, sentence + ".", beyond / n, LIMIT, interval, "share",
        {
            "beyond": beyond, "samples": n,
            "median_kt": float(np.median(reduced)),
            "reference_median_kt": float(np.median(reference)),
        },
    )  # fmt: skip
