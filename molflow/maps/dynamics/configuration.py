"""Settings that all maps of Langevin dynamics have, and those of their objectives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from molflow.section import Section


class DynamicsConfig(Section):
    """What every map of Langevin dynamics is told."""

    kind: str
    order: int = Field(14, ge=1, le=14, description="Legendre coefficients per step")
    longest_lag: float = Field(0.04, gt=0, description="longest step that is trained, ps")
    friction: float | None = Field(
        None, gt=0, description="1/ps, of the state of reference; that of the system if not given"
    )


class DynamicsObjectiveConfig(Section):
    """Mix of force matching, short steps tied to the force, and the semigroup."""

    kind: Literal["langevin"] = "langevin"
    family: str = Field(
        "semigroup", description="objective of the steps that are not tied to the force, by name"
    )
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
    curl_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the semigroup steps, those of rollouts first, at whose starts the "
        "learned rest of the force is taught to be a gradient; for maps that know bonded forces",
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
