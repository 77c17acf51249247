"""How weights are moved: what every training has in common, whatever is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from molflow.section import Section


class Optimisation(Section):
    """Length, rates and averages of a training."""

    steps: int = Field(10000, gt=0, description="training steps")
    seconds: float | None = Field(
        None,
        gt=0,
        description="wall-clock time of all sessions together, after which training ends where it "
        "is; rates then fall by whatever is further, steps or time",
    )
    optimiser: Literal["adam", "soap"] = Field(
        "adam",
        description="what moves the weights; soap is Adam in the eigenbasis of the gradients' "
        "second moments: dearer by a tenth for small networks, and in fewer steps as far",
    )
    learning_rate: float = Field(1e-3, gt=0)
    learning_rate_warmup: int = Field(200, ge=0, description="steps")
    learning_rate_decay: int = Field(3000, ge=0, description="last steps, cosine to zero")
    ema_decay: float = Field(0.999, gt=0, lt=1, description="of the weights that are kept")
    teacher_decay: float = Field(0.995, gt=0, lt=1, description="of the weights that teach")
    gradient_clip: float = Field(1.0, gt=0)
    steps_per_epoch: int = Field(250, gt=0, description="steps between two resumable states")
    validate_every: int = Field(4, gt=0, description="epochs between two validations")
