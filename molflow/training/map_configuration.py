"""Typed configuration of the maps: one class for each kind, chosen by `kind`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from molflow.training.section import Section


class MapConfig(Section):
    """The reverse diffusion and its increments. Noise levels in units of the data's spread."""

    kind: Literal["denoiser"] = "denoiser"
    sigma_max: float = Field(10.0, gt=0)
    sigma_min: float = Field(0.002, gt=0)
    eta: float = Field(
        1.0, ge=0, description="stochasticity; 1 is the ancestral diffusion, 0 the probability flow"
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
        return self


class LangevinConfig(Section):
    """Langevin dynamics, with inertia or overdamped."""

    kind: Literal["langevin", "overdamped"]
    order: int = Field(14, ge=1, le=14, description="Legendre coefficients per step")
    longest_lag: float = Field(0.04, gt=0, description="longest step that is trained, ps")
    friction: float | None = Field(
        None, gt=0, description="1/ps, of the state of reference; that of the system if not given"
    )
    bonded: bool = Field(
        True,
        description="whether a map with inertia knows by formula the bonds, angles and torsions "
        "that the training set names, and learns the rest of the force",
    )


#: The kinds there are; those of files from before there was a choice are the first.
MAP_KINDS = ("denoiser", "langevin", "overdamped")


def _kind(section: Any) -> str | None:
    if isinstance(section, dict):
        kind = section.get("kind", MAP_KINDS[0])
    else:
        kind = getattr(section, "kind", None)
    return "langevin" if kind == "overdamped" else kind


AnyMapConfig = Annotated[
    Annotated[MapConfig, Tag("denoiser")] | Annotated[LangevinConfig, Tag("langevin")],
    Discriminator(
        _kind,
        custom_error_type="map_kind",
        custom_error_message=f"map.kind must be one of {', '.join(MAP_KINDS)}",
    ),
]


def is_dynamics(section: Any) -> bool:
    """Return whether the section, checked or not, is of a map of dynamics."""
    return _kind(section or {}) == "langevin"


def map_configuration(section: dict[str, Any]) -> AnyMapConfig:
    """Return the checked configuration of a map.

    Raises
    ------
    pydantic.ValidationError
        If the kind or a key is unknown, or a value is not allowed.
    """
    return TypeAdapter(AnyMapConfig).validate_python(section)
