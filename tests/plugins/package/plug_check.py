"""A check: samples are numbers."""

from __future__ import annotations

import numpy as np

from molflow.checking.finding import FAIL, PASS, Finding


def finite(subject):
    share = float(np.isfinite(subject.positions).mean())
    sentence = f"{share:.0%} of the coordinates are finite."
    return Finding("plug", "Finite", PASS if share == 1 else FAIL, sentence, share, 1.0)
