"""Settings of the map that samples from noise, and of its objectives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from molflow.section import Section


class DenoiserConfig(Section):
    """The reverse diffusion and its increments. Noise levels in units of the data's spread."""

    kind: Literal["denoiser"] = "denoiser"
    sigma_max: float = Field(10.0, gt=0)
    sigma_min: float = Field(0.002, gt=0)
    eta: float = Field(
        1.0, ge=0, description="stochasticity; 1 is the ancestral diffusion, 0 the probability flow"
    )
    etas: tuple[float, float] | None = Field(
        None,
        description="with eta as an input of the network: the range, in 0 to 1, from which each "
        "training step draws it, as [0, 1]; eta is then the one that samples have by default",
    )
    order: int = Field(4, ge=1, description="Legendre coefficients per step")
    focus: float = Field(0.4, gt=0, description="noise level at which basins are decided")
    focus_weight: float = Field(
        6.0, ge=0, description="how much denser jumps are there; 0 makes them equal in log sigma"
    )

    @model_validator(mode="after")
    def _ordered(self):
        if self.sigma_min >= self.sigma_max:
            raise ValueError("sigma_min must be below sigma_max")
        if self.etas is not None:
            low, high = self.etas
            if not 0 <= low < high <= 1:
                raise ValueError(f"etas is {low:g} to {high:g}: give a range in 0 to 1, as [0, 1]")
            if not self.eta or not low <= self.eta <= high:
                raise ValueError(f"eta is {self.eta:g}: with etas it is positive, in their range")
        return self


class DenoiserObjectiveConfig(Section):
    """Mix of the local and the global objectives."""

    kind: Literal["denoiser"] = "denoiser"
    family: str = Field("semigroup", description="objective of the long steps, by name")
    local_steps: int = Field(1500, ge=0, description="first training steps, local objective only")
    local_share: float = Field(0.6, gt=0, le=1, description="share of the batch afterwards")
    focus_share: float = Field(
        0.5, ge=0, le=1, description="share of local times drawn near map.focus"
    )
    rare_share: float = Field(
        0.0, ge=0, lt=1,
        description="share of the frames drawn in proportion to the square roots of their weights, "
        "so that basins that a bias made frequent stay so; the loss makes up for it",
    )
    averaged_over: int = Field(
        0, ge=0,
        description="clean conformations of which the target of each noisy one is the mean, in all "
        "orientations, by how probably it came from them; 0 takes the one that it came from",
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
