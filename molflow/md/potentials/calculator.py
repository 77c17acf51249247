"""Any ASE calculator as the potential of a system."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from molflow.potentials import Potential, PotentialSettings


def by_calculator(
    package: str,
    calculator: Callable[[PotentialSettings], Any],
    takes: Iterable[str] = (),
) -> Potential:
    """Return the potential of an ASE calculator.

    Parameters
    ----------
    package : str
        The installed package whose version tells one potential of this name from another.
    calculator : callable
        Takes `PotentialSettings` and returns an ``ase.calculators.calculator.Calculator``. It is
        called in every process that needs the potential.
    takes : iterable of str
        See `Potential`.
    """
    return Potential(package, partial(_create, calculator), frozenset(takes))


def _create(calculator, topology, settings: PotentialSettings):
    from openmmml import MLPotential

    made = calculator(settings)
    return MLPotential("ase").createSystem(topology, calculator=made)
