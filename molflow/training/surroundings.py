"""What a training changes around it while it runs, and puts back."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import deterministic as memory

_QUIET = (
    ".*does not have many workers.*",
    ".*_log_api_event.*|.*isinstance.*LeafSpec.*",
    ".*module.s. in eval mode at the start of training.*",
    ".*overridden `transfer_batch_to_device`.*",
    ".*checkpoint directory.*exists and is not empty.*",
    ".*recommended to use .self.log.*sync_dist.*",
    ".*number of training batches.*smaller than the logging interval.*",
)
#: Its one attribute is made by a class that type checkers do not look into.
_MEMORY: Any = memory
#: What Lightning sets for deterministic algorithms.
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def own_surroundings() -> Iterator[None]:
    """Keep Lightning quiet, and put back its level of logs, filters of warnings, deterministic
    algorithms and the random generator of the CPU."""
    before = os.environ.get(_CUBLAS)
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = _MEMORY.fill_uninitialized_memory
    benchmark = torch.backends.cudnn.benchmark
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    # Deterministic algorithms would fill all new memory first, so that errors of a program are
    # the same in every run: one more pass over everything that a step writes.
    _MEMORY.fill_uninitialized_memory = False
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            for message in _QUIET:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        _MEMORY.fill_uninitialized_memory = filled
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
