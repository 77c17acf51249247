"""Do more steps along the same path approach one molecule?"""

from __future__ import annotations

import numpy as np

from molflow.analysis.molecule.superposition import paired_rmsd
from molflow.checking.finding import (
    FAIL,
    FEWEST,
    INCONCLUSIVE,
    PASS,
    Finding,
    bootstrap_interval,
    judge,
    worst,
)
from molflow.checking.subject import Subject

#: Largest distance to the finest sample of the same path, of the distance of unrelated samples.
LIMIT = 0.5
#: Number of doublings of the steps.
DOUBLINGS = 3
_SHARE = 16


def convergence(subject: Subject) -> Finding:
    """Compare samples of the same paths at K, 2K, 4K and 8K steps.

    Distances are heavy-atom RMSD after superposition, to the sample at 8K steps. The number is
    that at K steps over that between samples of unrelated paths, which a map right in law alone
    would stay at; besides, every doubling has to come closer.
    """
    rungs = [subject.steps * 2**k for k in range(DOUBLINGS + 1)]
    count = subject.part(_SHARE)
    topology = subject.checkpoint.topology()
    *coarser, finest = (subject.draw(steps, count) for steps in rungs)
    distances = np.array([paired_rmsd(xyz, finest, topology) for xyz in coarser])
    unrelated = paired_rmsd(np.roll(finest, 1, axis=0), finest, topology)
    broken = ~np.isfinite(distances).all(axis=0) | ~np.isfinite(unrelated)
    distances, unrelated = distances[:, ~broken], unrelated[~broken]
    kept = distances.shape[1]
    details = {
        "steps": rungs, "paths": count, "not_finite": int(broken.sum()),
        "rmsd_nm": distances.mean(axis=1).tolist() if kept else None,
        "unrelated_rmsd_nm": float(unrelated.mean()) if kept else None,
    }  # fmt: skip
    if kept < FEWEST:
        return Finding(
            "convergence", "Pathwise convergence", FAIL if broken.sum() >= FEWEST else INCONCLUSIVE,
            f"{kept} of {count} paths gave finite molecules, too few to tell whether more steps "
            "approach one: give more samples.", None, LIMIT, details=details,
        )  # fmt: skip

    def statistics(members: np.ndarray) -> np.ndarray:
        means = distances[:, members].mean(axis=1)
        return np.array([means[0] / unrelated[members].mean(), *np.diff(means)])

    value = float(statistics(np.arange(kept))[0])
    low, high = bootstrap_interval(statistics, kept, subject.seed_of("bootstrap"))
    verdicts = [judge((low[0], high[0]), LIMIT)]
    verdicts += [judge(ends, 0.0) for ends in zip(low[1:], high[1:], strict=True)]
    verdict = worst(verdicts)
    listed = ", ".join(f"{10 * rmsd:.2f}" for rmsd in distances.mean(axis=1))
    sentence = (
        f"At {', '.join(map(str, rungs[:-1]))} steps the same paths end {listed} Å from where "
        f"{rungs[-1]} steps do; unrelated ones are {10 * unrelated.mean():.2f} Å apart"
    ) + {
        PASS: ".",
        FAIL: ": more steps do not approach one molecule."
        if FAIL in verdicts[1:]
        else f": at {rungs[0]} steps the answer is still far from settled.",
        INCONCLUSIVE: ", which is not certain enough to judge.",
    }[verdict]
    return Finding(
        "convergence", "Pathwise convergence", verdict, sentence, value, LIMIT,
        (float(low[0]), float(high[0])), "of unrelated", details,
    )  # fmt: skip
