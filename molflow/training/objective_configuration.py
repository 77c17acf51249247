"""Typed configuration of the objectives: one class for sampling, one for dynamics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from molflow.training.section import Section


class ObjectiveConfig(Section):
    """Mix of the local and the global objectives."""

    kind: Literal["denoiser"] = "denoiser"
    local_steps: int = Field(1500, ge=0, description="first training steps, local objective only")
    local_share: float = Field(0.6, gt=0, le=1, description="share of the batch afterwards")
    focus_share: float = Field(
        0.5, ge=0, le=1, description="share of local times drawn near map.focus"
    )
    stiffness: float = Field(3.0, ge=0, description="extra weight of errors along stiff pairs")
    stiff_below: float = Field(0.1, gt=0, description="noise level above which it fades out")
    least_variance: float = Field(
        0.03, gt=0, description="below this expected loss the learned weight stops growing"
    )
    anchor_share: float = Field(
        0.2, ge=0, le=1, description="share of the long steps that are tied to the denoiser"
    )
    anchor: tuple[float, float] = Field(
        (1 / 256, 1 / 32), description="their lengths / duration; the semigroup begins above"
    )
    typical_share: float = Field(
        0.5, ge=0, le=1, description="share of the other long steps of the length of a jump"
    )
    typical: tuple[float, float] = Field(
        (1 / 16, 1.0), description="their lengths / that of the clock of the jumps"
    )


class DynamicsObjectiveConfig(Section):
    """Mix of force matching, short steps tied to the force, and the semigroup."""

    kind: Literal["langevin"]
    local_steps: int = Field(3000, ge=0, description="first training steps, force matching only")
    local_share: float = Field(0.3, gt=0, lt=1, description="share of the batch afterwards")
    anchor_share: float = Field(
        0.25, ge=0, le=1, description="share of the steps that are tied to the force"
    )
    anchor: tuple[float, float] = Field(
        (0.0002, 0.0006), description="their lengths, ps; the semigroup begins above"
    )
    frictions: tuple[float, float] | None = Field(
        None, description="range of the friction, 1/ps; that of the map if not given"
    )
    rollout_share: float = Field(
        0.5, ge=0, le=1, description="share of semigroup steps from states the map has reached"
    )
    rollout_length: int = Field(200, gt=0, description="steps of a rollout, on average")
    rollouts: int = Field(512, gt=0, description="rollouts that are kept going")
    direct_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the steps that paths under the true force teach; the semigroup then "
        "ends where their blocks begin",
    )
    mean_flow_share: float = Field(
        0.0, ge=0, le=1, description="share of the other semigroup steps taught by MeanFlow instead"
    )
    least_variance: float = Field(
        1e-4, gt=0, description="below this expected loss the learned weight stops growing"
    )
    validation_lags: list[float] = Field(
        [0.005, 0.02], description="ps, of the rollouts from validation frames"
    )
    validation_steps: int = Field(200, gt=0, description="their steps")

    @model_validator(mode="after")
    def _ordered(self):
        ranges = {"anchor": self.anchor, "frictions": self.frictions or (1.0, 1.0)}
        for name, (low, high) in ranges.items():
            if not 0 < low <= high:
                raise ValueError(f"{name} must be two positive numbers, the smaller one first")
        return self


def _kind(section: Any) -> str | None:
    if isinstance(section, dict):
        return section.get("kind", "denoiser")
    return getattr(section, "kind", None)


AnyObjectiveConfig = Annotated[
    Annotated[ObjectiveConfig, Tag("denoiser")]
    | Annotated[DynamicsObjectiveConfig, Tag("langevin")],
    Discriminator(
        _kind,
        custom_error_type="objective_kind",
        custom_error_message="objective.kind must be denoiser or langevin",
    ),
]
