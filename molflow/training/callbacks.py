"""What happens at the end of an epoch: history, validation, the checkpoint for use."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch

from molflow.files import write_text
from molflow.flow_map.base import FlowMap

#: Of a map: names and numbers.
Scores = Callable[[Any], dict[str, float]]
#: Given the averaged map, the number of steps and the rows of the history.
Write = Callable[[FlowMap, int, list[dict]], None]


class History(lightning.Callback):
    """Keep one row of metrics per epoch, in the resumable state and as a CSV file if there is one.

    Lightning's own CSV logger starts afresh when a run resumes; this one goes on.
    """

    def __init__(self, path: Path | None):
        self.path, self.started = path, 0.0
        self.rows: list[dict] = []

    def on_train_epoch_start(self, trainer, module) -> None:
        """Start the clock of the epoch and forget the metrics of the last one."""
        self.started = time.perf_counter()
        # Lightning keeps the last value of what is not logged in every epoch.
        trainer.logged_metrics.clear()

    def on_train_epoch_end(self, trainer, module) -> None:
        """Add a row and rewrite the file."""
        metrics = {name: float(value) for name, value in sorted(trainer.logged_metrics.items())}
        seconds = time.perf_counter() - self.started
        self.rows.append({"step": trainer.global_step, **metrics, "seconds": round(seconds, 1)})
        if self.path is not None and trainer.is_global_zero:
            write_text(self.path, self._table())

    def _table(self) -> str:
        columns = dict.fromkeys(name for row in self.rows for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def state_dict(self) -> dict:
        """Return the rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict) -> None:
        """Take the rows back."""
        self.rows = state["rows"]


class Validation(lightning.Callback):
    """Score the averaged map now and then, and log the scores.

    Parameters
    ----------
    scores : callable
        ``flow_map -> dict`` of names to numbers.
    every : int
        Epochs.
    """

    def __init__(self, scores: Scores, every: int):
        self.scores, self.every = scores, every

    def on_train_epoch_end(self, trainer, module) -> None:
        """Validate each `every` epochs, in one process."""
        if (trainer.current_epoch + 1) % self.every or not trainer.is_global_zero:
            return
        with torch.no_grad():
            found = self.scores(module.averaged)
        for name, value in found.items():
            if math.isfinite(value):
                module.log(f"val/{name}", float(value), rank_zero_only=True)


class Export(lightning.Callback):
    """Write the checkpoint for use, with the averaged weights, at the end of each epoch."""

    def __init__(self, write: Write, history: History):
        self.write, self.history = write, history

    def on_train_epoch_end(self, trainer, module) -> None:
        """Write it, in one process."""
        if trainer.is_global_zero:
            self.write(module.averaged, trainer.global_step, self.history.rows)
