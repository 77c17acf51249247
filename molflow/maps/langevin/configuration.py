"""Settings of maps of Langevin dynamics with inertia."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from molflow.maps.dynamics.configuration import DynamicsConfig


class LangevinConfig(DynamicsConfig):
    """Langevin dynamics with inertia."""

    kind: Literal["langevin"] = "langevin"
    bonded: bool | Literal["fitted"] = Field(
        True,
        description="whether the map knows by formula the bonds, angles and torsions that the "
        "training set names, and learns the rest of the force; 'fitted' fits a formula to the "
        "forces of the training set, which leaves less and needs no force field",
    )
