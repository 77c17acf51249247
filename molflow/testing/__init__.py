"""Checks for your own maps and networks: equivariance, strong order, semigroup."""

from molflow.testing.equivariance import (
    assert_equivariant,
    equivariance_errors,
    random_rotations,
)
from molflow.testing.strong import (
    assert_semigroup,
    assert_strong_order,
    semigroup_residual,
    strong_errors,
    strong_order,
)

__all__ = [
    "assert_equivariant",
    "assert_semigroup",
    "assert_strong_order",
    "equivariance_errors",
    "random_rotations",
    "semigroup_residual",
    "strong_errors",
    "strong_order",
]
