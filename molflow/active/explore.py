"""Chains of a map, for the conformations that they come to."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import mdtraj
import numpy as np
import torch

from molflow.analysis.molecule.reactions import changed_bonds
from molflow.data.prepare import centred
from molflow.maps.dynamics.flow_map import DynamicsFlowMap
from molflow.propagation.motion import Motion, positions_of, start_state
from molflow.propagation.paths import ChainPaths

#: Steps between two frames, 1/ps at least, and the share of the longest lag that a step is.
EVERY, FRICTION, SHARE = 10, 10.0, 0.5
#: Why a state is not one of a molecule at the temperature of the bath.
_WILD = "it moved or heated up as no molecule does"


class Explored(NamedTuple):
    """Conformations of chains, (frames, atoms, 3) in nm, and why others were given up.

    `broken` counts by reason the times that a chain was put back to its start.
    """

    positions: np.ndarray
    broken: dict[str, int]


def explore(
    flow_map: DynamicsFlowMap,
    topology: mdtraj.Topology,
    starts: np.ndarray,
    frames: int,
    temperature: float,
    seed: int,
) -> Explored:
    """Return frames of chains of a map, of whole molecules only.

    A chain whose molecule breaks, reacts or blows up starts again; what it was is counted. The
    friction is that of the map, or `FRICTION` where it is less: a map that is not trained out keeps
    its temperature best so.

    Parameters
    ----------
    flow_map : DynamicsFlowMap
    topology : mdtraj.Topology
        With bonds.
    starts : ndarray, (chains, atoms, 3)
        nm.
    frames : int
        Of each chain, `EVERY` steps apart.
    temperature : float
        K.
    seed : int
        Of velocities and paths.
    """
    hot = flow_map.at(temperature, max(FRICTION, flow_map.friction))
    motion, first = Motion(hot), start_state(hot, starts, seed)
    paths = ChainPaths(hot.basis, len(starts), starts.shape[1], seed)
    interval = EVERY * SHARE * hot.scales.longest_lag
    x, kept, broken = first, [], Counter[str]()
    for frame in range(frames):
        x = motion.walk(x, paths, frame * interval, interval, EVERY)
        positions = positions_of(x).numpy()
        whole = hot.whole(x)[0].numpy()
        reasons = np.full(len(x), _WILD, dtype=object)
        reasons[whole] = changed_bonds(topology, positions[whole])
        good = reasons == ""
        broken.update(reasons[~good].tolist())
        kept.append(centred(positions[good]))
        x = torch.where(torch.from_numpy(good).reshape(-1, *[1] * (x.ndim - 1)), x, first)
    return Explored(np.concatenate(kept), dict(broken.most_common()))
