"""Trained potentials that OpenMM-ML knows by name; their packages bring or fetch the weights."""

from __future__ import annotations

from molflow.potentials import Potential, PotentialSettings


def _create(topology, settings: PotentialSettings):
    from openmmml import MLPotential

    state = {"charge": settings.charge, "multiplicity": settings.multiplicity}
    return MLPotential(settings.name).createSystem(topology, **state)


ANI2X = Potential("torchani", _create)
AIMNET2 = Potential("aimnet", _create, frozenset({"charge", "multiplicity"}))
MACE = Potential("mace-torch", _create)
