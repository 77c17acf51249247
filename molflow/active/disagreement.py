"""What two maps of the same labels do not agree on."""

from __future__ import annotations

import numpy as np
import torch

from molflow.maps.dynamics.flow_map import DynamicsFlowMap

#: Conformations a network call.
_AT_ONCE = 256


def learned_forces(flow_map: DynamicsFlowMap, positions: np.ndarray) -> np.ndarray:
    """Return what a map says of the force at conformations (n, atoms, 3), kJ/mol/nm."""
    like = next(flow_map.parameters())
    with torch.no_grad():
        parts = torch.from_numpy(positions).to(like).split(_AT_ONCE)
        return torch.cat([flow_map.force(part) for part in parts]).double().cpu().numpy()


def disagreement(one: DynamicsFlowMap, other: DynamicsFlowMap, positions: np.ndarray) -> np.ndarray:
    """Return the root mean square over a frame of the difference of two forces over √2, (n,).

    Of two maps whose errors are independent and alike it is the error of each, kJ/mol/nm.
    """
    if not len(positions):
        return np.empty(0)
    off = learned_forces(one, positions) - learned_forces(other, positions)
    return np.sqrt(0.5 * np.mean(off**2, axis=(1, 2)))


def most_doubtful(doubts: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the largest of (n,) numbers, in the order of the frames."""
    return np.sort(np.argsort(-doubts, kind="stable")[:count])
