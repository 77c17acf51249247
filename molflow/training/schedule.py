"""Learning rate over the run."""

from __future__ import annotations

import math

from molflow.training.configuration import TrainingConfig


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Return the factor on the learning rate: linear warm-up, plateau, final cosine to zero."""
    factor = min(1.0, (step + 1) / max(1, config.learning_rate_warmup))
    left = config.steps - step
    if left < config.learning_rate_decay:
        factor *= 0.5 - 0.5 * math.cos(math.pi * max(0, left) / config.learning_rate_decay)
    return factor
