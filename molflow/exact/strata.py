"""Which samples of a flow are worth a density: chosen by basin before anything dear is computed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import mdtraj
import numpy as np
import torch

from molflow.analysis.observables import BASIN_NAMES, basin_marks
from molflow.analysis.torsions import phi_psi, phi_psi_indices
from molflow.errors import MolflowError
from molflow.files import write_arrays
from molflow.maps.denoiser.draw import BLOCK, start_positions
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.maps.denoiser.probability_flow import ProbabilityFlow, flow_times, without_paths
from molflow.parts import kept_arrays
from molflow.progress import track
from molflow.seeds import derive_seed
from molflow.training.checkpoint import Checkpoint

#: Blocks that are carried through the flow at once.
_BLOCKS = 4


def parse_strata(text: str) -> dict[str, int]:
    """Turn ``"beta=300,alpha_r=300,alpha_l=400"`` into numbers by basin.

    Raises
    ------
    MolflowError
        If it is not a number, at least 1, for each basin.
    """
    found = {}
    for word in text.split(","):
        name, _, number = word.partition("=")
        if name.strip() in BASIN_NAMES and number.strip().isdigit() and int(number) > 0:
            found[name.strip()] = int(number)
    if len(found) != len(BASIN_NAMES) or len(text.split(",")) != len(BASIN_NAMES):
        example = ",".join(f"{name}=400" for name in BASIN_NAMES)
        raise MolflowError(
            f"strata is '{text}': give a number, at least 1, for every basin, such as {example}. "
            "A basin left out would be missing from all means."
        )
    return found


def end_of(flow: ProbabilityFlow, stop: float | None, x: torch.Tensor):
    """Return where a flow ends and the molecule that the map sees there, both like x."""
    y = flow(x)
    return y, denoised(flow.flow_map, flow.times[-1], stop, y)


def denoised(flow_map: Any, end: float, stop: float | None, y: torch.Tensor) -> torch.Tensor:
    """Return E[x₀ | y] at the time `end` of the flow; y itself where it has gone to its end."""
    if stop is None:
        return y
    time_ = y.new_full((len(y),), end)
    return flow_map.mean(time_, time_, y, flow_map.no_features(y))


def basin_numbers(positions: np.ndarray, topology: mdtraj.Topology) -> np.ndarray:
    """Return the place in `BASIN_NAMES` of each of positions (n, n_atoms, 3), int (n,)."""
    marks = basin_marks(phi_psi(mdtraj.Trajectory(positions, topology)))
    return np.argmax([marks[name] for name in BASIN_NAMES], axis=0)


def strata_of(
    checkpoint: Checkpoint,
    n: int,
    steps: int,
    stop: float | None,
    path_seed: int,
    parts: Path | None = None,
    progress: bool = False,
) -> tuple[np.ndarray, float]:
    """Return the basins of n samples of a flow, before its density and the step by physics.

    Parameters
    ----------
    checkpoint : Checkpoint
    n : int
    steps, stop, path_seed
        As `molflow.sample_weighted`, whose samples they are.
    parts : Path, optional
        Folder in which finished batches are kept.
    progress : bool

    Returns
    -------
    basins : ndarray, (n,) int
        Of the denoised end of the flow, a function of the start alone.
    seconds : float
        Of the processor, for all.

    Raises
    ------
    MolflowError
        If the molecule has no single pair of φ and ψ.
    """
    topology = checkpoint.topology()
    try:
        phi_psi_indices(topology)
    except MolflowError as error:
        raise MolflowError(f"strata are the basins of φ and ψ. {error}") from error
    flow_map = without_paths(cast(DenoiserFlowMap, checkpoint.flow_map))  # it samples
    flow = ProbabilityFlow(flow_map, flow_times(flow_map, steps, stop))
    device = next(flow_map.parameters()).device
    blocks, found, seconds = -(-n // BLOCK), [], 0.0
    firsts = range(0, blocks, _BLOCKS)
    for first in track(firsts, "choosing by basin", progress):
        name = None if parts is None else parts / f"strata-{first:07d}.npz"
        if (kept := kept_arrays(name)) is None:
            began = time.process_time()
            seeds = [derive_seed(path_seed, "block", k) for k in range(first, first + _BLOCKS)]
            x = [start_positions(flow_map, BLOCK, checkpoint.n_atoms, seed) for seed in seeds]
            with torch.no_grad():
                _, guess = end_of(flow, stop, torch.cat(x).to(device))
            positions = checkpoint.scale * guess.double().cpu().numpy()
            kept = {"basins": basin_numbers(positions, topology)}
            kept["seconds"] = np.array(time.process_time() - began)
            if name is not None:
                write_arrays(name, **kept)
        found.append(kept["basins"])
        seconds += float(kept["seconds"])
    return np.concatenate(found)[:n], seconds


def choose(basins: np.ndarray, wanted: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the samples to be weighed, and the logarithm of how many each stands for.

    Of the M_b samples in basin b m_b = min(M_b, wanted) are taken, evenly by number: were they the
    first, only rare basins would be left towards the end of the file, and who reads it as an order
    in time would find it correlated. Given the basins the samples are independent draws from the
    law inside their basins, so that any choice by number is as good as another, and

        E Σ_b (M_b/m_b) Σ_{i ∈ b, chosen} h(x_i) = E Σ_i h(x_i)

    (double sampling for stratification, Neyman 1938): means with weights times M_b/m_b converge
    to the same as those over all samples.

    Parameters
    ----------
    basins : ndarray, (n,) int
        Places in `BASIN_NAMES`.
    wanted : dict of str to int
        For each basin.

    Returns
    -------
    numbers : ndarray, (m,) int
        Increasing.
    log_factors : ndarray, (m,)
    """
    numbers, factors = [], []
    for k, name in enumerate(BASIN_NAMES):
        own = np.flatnonzero(basins == k)
        taken = min(len(own), wanted[name])
        chosen = own[np.arange(taken) * len(own) // max(taken, 1)]
        numbers.append(chosen)
        factors.append(np.full(len(chosen), np.log(max(len(own), 1) / max(len(chosen), 1))))
    order = np.argsort(np.concatenate(numbers))
    return np.concatenate(numbers)[order], np.concatenate(factors)[order]


def count_strata(basins: np.ndarray, chosen: np.ndarray) -> dict[str, dict[str, int]]:
    """Return how many samples of each basin were ``drawn`` and are ``weighed``."""
    return {
        name: {"drawn": int(np.sum(basins == k)), "weighed": int(np.sum(chosen == k))}
        for k, name in enumerate(BASIN_NAMES)
    }
