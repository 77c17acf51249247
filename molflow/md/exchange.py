"""The state of a replica-exchange sampler as arrays: what lets it go on bit by bit."""

from __future__ import annotations

import json
import random

import numpy as np
import openmm
from openmm.app import ReplicaExchangeSampler


def packed(sampler: ReplicaExchangeSampler, **more) -> dict[str, np.ndarray]:
    """Return all that decides how a sampler goes on.

    The states of all walkers, the context's own checkpoint (for the random numbers of the
    thermostat) and the state of Python's generator, from which exchanges are drawn. `more` is
    stored with it and has to be fit for JSON.
    """
    version, internal, gauss = random.getstate()
    text = {
        "iteration": sampler.currentIteration,
        "state_index": sampler.replicaStateIndex,
        "previous_state_index": sampler._previousReplicaStateIndex,
        "random": [version, list(internal), gauss],
        "states": [openmm.XmlSerializer.serialize(s) for s in sampler.replicaConformation],
        **more,
    }
    context = sampler.simulation.context.createCheckpoint()
    return {
        "context": np.frombuffer(context, dtype=np.uint8),
        "text": np.frombuffer(json.dumps(text).encode(), dtype=np.uint8),
    }


def unpacked(stored: dict[str, np.ndarray]) -> dict:
    """Return the text of `packed`, with what was stored beside the sampler's state."""
    return json.loads(stored["text"].tobytes())


def restore(sampler: ReplicaExchangeSampler, stored: dict[str, np.ndarray]) -> None:
    """Put a sampler of the same simulation and states back to where `packed` was called."""
    text = unpacked(stored)
    sampler.simulation.context.loadCheckpoint(stored["context"].tobytes())
    version, internal, gauss = text["random"]
    random.setstate((version, tuple(internal), gauss))
    sampler.currentIteration = text["iteration"]
    sampler.replicaStateIndex = text["state_index"]
    sampler._previousReplicaStateIndex = text["previous_state_index"]
    sampler.replicaConformation = [openmm.XmlSerializer.deserialize(s) for s in text["states"]]
