"""How far a training is, by its steps or by its time."""

from __future__ import annotations

import time

import lightning

from molflow.training.optimisation import Optimisation


class TrainingClock(lightning.Callback):
    """Count the seconds of all sessions, and end the training when they are spent.

    Parameters
    ----------
    settings : Optimisation
        Without `seconds` there is no end but that of the steps.
    """

    def __init__(self, settings: Optimisation):
        self.settings = settings
        self.before, self.begun = 0.0, time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of this session and of those that it resumes."""
        return self.before + time.monotonic() - self.begun

    def reached(self, step: int) -> float:
        """Return the step that a training of even speed would be at, at least `step`."""
        if self.settings.seconds is None:
            return step
        return max(step, self.settings.steps * min(1.0, self.elapsed / self.settings.seconds))

    @property
    def spent(self) -> bool:
        """Whether the time is over."""
        return self.settings.seconds is not None and self.elapsed >= self.settings.seconds

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        """End the training if its time is spent."""
        trainer.should_stop = trainer.should_stop or self.spent

    def state_dict(self) -> dict:
        """Return the seconds so far."""
        return {"elapsed": self.elapsed}

    def load_state_dict(self, state: dict) -> None:
        """Go on from the seconds of earlier sessions."""
        self.before = state["elapsed"]
