"""A metric: how far mean bond lengths are from those of the reference."""

from __future__ import annotations

import numpy as np

from molflow.analysis.metrics.entry import Metric, plain


def shift(model: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(model.mean(axis=0) - reference.mean(axis=0)).max())


BOND_SHIFT = Metric(
    "plug_bond_shift", "Largest shift of a bond", "bond", "nm",
    "Largest difference of mean bond lengths.", "a plug-in", plain(shift),
)  # fmt: skip
