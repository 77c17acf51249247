"""Learning rate over the run."""

from __future__ import annotations

import math

from molflow.training.configuration import TrainingConfig


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Return the factor on the learning rate: linear warm-up, plateau, final cosine to zero."""
    factor = min(1.0, (step + 1) / max(1, config.learning_rate_warmup))
    left = config.steps - step
    # A run shorter than warm-up and decay together still reaches the full rate.
    decay = min(config.learning_rate_decay, config.steps - config.learning_rate_warmup)
    if left < decay:
        factor *= 0.5 - 0.5 * math.cos(math.pi * max(0, left) / decay)
    return factor
