"""What happens at the end of an epoch: history, validation, the checkpoint for use."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import lightning
import numpy as np
import torch

from molflow.files import write_text
from molflow.maps.denoiser.flow_map import DenoiserFlowMap


class History(lightning.Callback):
    """Keep one row of metrics per epoch, as a CSV file and in the resumable state.

    Lightning's own CSV logger starts afresh when a run resumes; this one goes on.
    """

    def __init__(self, path: Path):
        self.path, self.rows, self.started = path, [], 0.0

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
        if trainer.is_global_zero:
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
    """Draw samples from the averaged map and score them; log the scores.

    Parameters
    ----------
    draw : callable
        ``(flow_map, n, nfe, seed) -> positions`` in nm.
    score : callable
        ``positions -> dict of metric name to float``.
    """

    def __init__(
        self, draw: Callable, score: Callable, every: int, samples: int, nfe: list[int], seed: int
    ):
        self.draw, self.score = draw, score
        self.every, self.samples, self.nfe, self.seed = every, samples, nfe, seed

    def on_train_epoch_end(self, trainer, module) -> None:
        """Validate each `every` epochs."""
        if (trainer.current_epoch + 1) % self.every or not trainer.is_global_zero:
            return
        trained: DenoiserFlowMap = module.averaged
        for nfe in self.nfe:
            with torch.no_grad():
                positions = self.draw(trained, self.samples, nfe, self.seed)
            for name, value in self.score(positions).items():
                if np.isfinite(value):
                    module.log(f"val/{name}@{nfe}", float(value), rank_zero_only=True)


class Export(lightning.Callback):
    """Write the checkpoint for use, with the averaged weights, at the end of each epoch."""

    def __init__(self, write: Callable[[DenoiserFlowMap, int, list[dict]], None], history: History):
        self.write, self.history = write, history

    def on_train_epoch_end(self, trainer, module) -> None:
        """Write it."""
        if trainer.is_global_zero:
            self.write(module.averaged, trainer.global_step, self.history.rows)
