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
    if subject.reference is None:
        return Finding(
            *what, INCONCLUSIVE,
            f"The system '{subject.system.name}' has no reference MD here to compare energies "
            "with.", None, LIMIT,
        )  # fmt: skip
    threshold = float(np.quantile(subject.reference.energies, QUANTILE))
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
    reduced = reduced_energies(subject.energies, subject.reference.temperature)
    truth = reduced_energies(subject.reference.energies, subject.reference.temperature)
    return Finding(
        *what, verdict, sentence + ".", beyond / n, LIMIT, interval, "share",
        {
            "beyond": beyond, "samples": n,
            "median_kt": float(np.median(reduced)), "reference_median_kt": float(np.median(truth)),
        },
    )  # fmt: skip
