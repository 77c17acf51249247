"""The properties that `molflow check` examines."""

from __future__ import annotations

from collections.abc import Callable

from molflow.checking.finding import Finding
from molflow.checking.subject import Subject
from molflow.registry import Registry

#: Of a map under examination: one finding, or several.
Check = Callable[[Subject], "Finding | list[Finding]"]

#: The checks there are, in the order in which they are made.
CHECKS: Registry[Check] = Registry(
    "check",
    "molflow.checks",
    {
        "equivariance": "molflow.checking.equivariance:equivariance",
        "semigroup": "molflow.checking.semigroup:semigroup",
        "convergence": "molflow.checking.convergence:convergence",
        "chirality": "molflow.checking.chirality:chirality",
        "energy_tail": "molflow.checking.energy_tail:energy_tail",
        "stationarity": "molflow.checking.stationarity:stationarity",
    },
)
