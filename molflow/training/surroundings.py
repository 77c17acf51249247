"""What a training changes around it while it runs, and puts back."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_QUIET = (
    ".*does not have many workers.*",
    ".*_log_api_event.*|.*isinstance.*LeafSpec.*",
    ".*module.s. in eval mode at the start of training.*",
    ".*overridden `transfer_batch_to_device`.*",
    ".*checkpoint directory.*exists and is not empty.*",
)
#: What Lightning sets for deterministic algorithms.
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def own_surroundings() -> Iterator[None]:
    """Keep Lightning quiet, and put back its level of logs, filters of warnings, deterministic
    algorithms and the random generator of the CPU."""
    logger, before = logging.getLogger("lightning.pytorch"), os.environ.get(_CUBLAS)
    level, deterministic = logger.level, torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            for message in _QUIET:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logger.setLevel(level)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        if before is None:
            os.environ.pop(_CUBLAS, None)
        else:
            os.environ[_CUBLAS] = before


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from the CPU's generator with a seed, and put it back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def first_process() -> bool:
    """Return whether this process is the one that writes, of those that train together."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not distributed or torch.distributed.get_rank() == 0
