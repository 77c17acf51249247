"""Learning rate over the run."""

from __future__ import annotations

import math

from molflow.training.optimisation import Optimisation


def decay_begins(config: Optimisation) -> int:
    """Return the number of steps before the final decay of the learning rate."""
    # A run shorter than warm-up and decay together still reaches the full rate.
    return max(config.steps - config.learning_rate_decay, config.learning_rate_warmup)


def learning_rate_factor(step: float, config: Optimisation) -> float:
    """Return the factor on the learning rate: linear warm-up, plateau, final cosine to zero."""
    factor = min(1.0, (step + 1) / max(1, config.learning_rate_warmup))
    begins = decay_begins(config)
    if step > begins:
        left = max(0, config.steps - step) / (config.steps - begins)
        factor *= 0.5 - 0.5 * math.cos(math.pi * left)
    return factor
