"""Noise that gives back the energy which steps of a map lose, by the temperatures of chains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from molflow.analysis.kinetics.temperatures import atom_temperatures
from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json, reader, write_json
from molflow.maps.langevin.inertial import InertialFlowMap
from molflow.maps.langevin.residual_file import save_residual
from molflow.maps.langevin.residual_noise import ResidualNoise, check_size, frame_neighbours
from molflow.nn.graph import MolecularGraph
from molflow.training.checkpoint import DESCRIPTION, Checkpoint, load_checkpoint
from molflow.units import thermal_energy

#: Standard errors by which chains must be colder than the bath.
_CERTAIN = 3.0


def frictions_of_steps(temperatures: np.ndarray, temperature: float, friction: float) -> np.ndarray:
    """Return the friction λ (1/ps) by which the steps of a map slow atoms besides that of the bath.

    In chains that have come to rest the bath gives atoms of kinetic temperature T the power
    γ k (T₀ - T) per degree of freedom, of the motion and of the potential together, and as much is
    lost to the steps: λ k T. What one atom passes on to another is not counted; it ends where all
    have the temperature of the bath. There is none of an atom that is no colder, so that all
    together is more than is lost by what the bath takes from those that are hotter.

    Parameters
    ----------
    temperatures : ndarray, (n_atoms,)
        K, of chains without residual noise.
    temperature, friction : float
        K and 1/ps, of the bath.
    """
    return friction * np.maximum(0.0, temperature / temperatures - 1.0)


def balancing_noise(
    flow_map: InertialFlowMap, graph: MolecularGraph, frictions: np.ndarray, h: float
) -> ResidualNoise:
    """Return the noise that belongs to the friction of steps of length h (ps).

    By the theorem of fluctuation and dissipation a friction λ needs velocities with the variance
    2 λ h kT/m a step to leave a temperature as it is. The noise is not correlated between atoms,
    but that it moves no centre: what this takes away is added to all alike.

    Parameters
    ----------
    flow_map : InertialFlowMap
        At the state of reference.
    graph : MolecularGraph
    frictions : ndarray, (n_atoms,)
        From `frictions_of_steps`, 1/ps.
    h : float

    Raises
    ------
    MolflowError
        If no step loses anything, or the molecule is too large; see `check_size`.
    """
    check_size(graph.n_atoms, 1)
    masses = flow_map.root_masses.square().double().cpu()
    rates = torch.from_numpy(frictions)
    if not rates.any():
        raise MolflowError(
            "no atom of the chains is colder than the bath: their steps lose nothing that noise "
            "could give back."
        )
    centre = (masses * rates).sum() / (masses.sum() * rates.sum())
    variance = 2.0 * rates * h / (1.0 - centre) * thermal_energy(flow_map.temperature) / masses
    none = torch.zeros_like(variance)
    by_map = torch.diag(torch.cat([none, variance]).repeat_interleave(3))[None]
    neighbours = frame_neighbours(graph)
    return ResidualNoise(
        h, by_map, torch.zeros_like(by_map), neighbours, masses, flow_map.temperature
    )


def add_balancing_noise(folder: str | Path, trajectory: str | Path) -> dict[str, Any]:
    """Give a checkpoint the residual noise that its own chains ask for, for steps of their length.

    The chains are those of ``molflow propagate`` from frames that were not trained on, long beside
    1/γ, at the temperature of the training, and so many that they are certainly colder than the
    bath on average: chance makes an atom seem colder as often as hotter, and only what seems colder
    is given back. What was measured stands in the description of the checkpoint, under ``balance``;
    residual noise that was there before is replaced.

    Parameters
    ----------
    folder : str or Path
        Of the checkpoint.
    trajectory : str or Path
        Of the chains; their record and velocities lie beside it.

    Returns
    -------
    dict
        What was measured: temperatures (K) with their standard errors over chains, and frictions
        of steps (1/ps) of the atoms, in their order, and of what chains.

    Raises
    ------
    MolflowError
        If it is no map of dynamics with inertia, the chains are of other weights, had residual
        noise themselves or broke, a file is damaged, or it is not certain that they lose anything.
    """
    checkpoint, path = load_checkpoint(folder), Path(trajectory)
    flow_map = checkpoint.flow_map
    if not isinstance(flow_map, InertialFlowMap):
        raise MolflowError(
            f"the checkpoint '{folder}' is no map of Langevin dynamics with inertia: the noise is "
            "one of velocities, which it does not have."
        )
    told, temperatures = chain_temperatures(path, checkpoint)
    found = temperatures.mean(axis=0)
    errors = temperatures.std(axis=0, ddof=1) / len(temperatures) ** 0.5
    lacking = told["temperature"] - temperatures.mean(axis=1)
    mean, error = lacking.mean(), lacking.std(ddof=1) / len(lacking) ** 0.5
    if not mean > _CERTAIN * error:
        raise MolflowError(
            f"the chains of '{path}' do not tell what steps of '{folder}' lose: they are "
            f"{mean:.1f} ± {error:.1f} K colder than the bath, which may be chance. Propagate more "
            "chains or longer ones, if they are too cold."
        )
    frictions = frictions_of_steps(found, told["temperature"], told["friction"])
    graph = MolecularGraph.from_dict(checkpoint.description["graph"])
    noise = balancing_noise(flow_map, graph, frictions, 1e-3 * told["step_fs"])
    measured = {
        "temperatures": found.round(2).tolist(), "standard_errors": errors.round(2).tolist(),
        "frictions_of_steps": frictions.round(5).tolist(), **told,
    }  # fmt: skip
    save_residual(checkpoint.folder, noise)
    described = read_json(checkpoint.folder / DESCRIPTION)
    write_json(checkpoint.folder / DESCRIPTION, {**described, "balance": measured})
    return measured


@reader
def chain_temperatures(path: Path, checkpoint: Checkpoint) -> tuple[dict[str, Any], np.ndarray]:
    """Read of what chains a trajectory is, and their temperatures.

    Parameters
    ----------
    path : Path
        Of the trajectory; its record and velocities lie beside it.
    checkpoint : Checkpoint
        Of the map that moved them.

    Returns
    -------
    told : dict
        From their record.
    temperatures : ndarray, (chains, n_atoms)
        K, means over the frames of each chain.

    Raises
    ------
    MolflowError
        If they are not of the checkpoint as it is without noise, or a file is damaged.
    """
    flow_map: Any = checkpoint.flow_map
    record, reason = read_json(path.with_suffix(".json")), None
    plan = record["plan"]
    if plan["weights_sha256"] != checkpoint.weights_hash:
        reason = "they are of other weights"
    elif plan["residual_sha256"] is not None:
        reason = "they had residual noise themselves"
    elif record["broken"]:
        reason = f"{len(record['broken'])} of them broke"
    elif record["temperature"] != flow_map.temperature:
        reason = f"they are at {record['temperature']:g} K, the map at {flow_map.temperature:g} K"
    elif record["chains"] < 2:
        reason = "there is one alone"
    if reason is not None:
        raise MolflowError(
            f"the chains of '{path}' do not tell what steps of '{checkpoint.folder}' lose: "
            f"{reason}. Propagate this checkpoint without residual noise, at the temperature of "
            "its training."
        )
    velocities = read_arrays(path.with_suffix(".npz"))["velocities"]
    masses = flow_map.root_masses.square().double().cpu().numpy()
    # Frames lie chain by chain.
    frames = atom_temperatures(velocities, masses).reshape(record["chains"], -1, len(masses))
    temperatures = frames.mean(axis=1)
    if not (np.isfinite(temperatures).all() and temperatures.mean(axis=0).min() > 0.0):
        raise ValueError("velocities that are no numbers, or all zero")
    return {
        "temperature": record["temperature"], "friction": record["friction"],
        "step_fs": float(record["step_fs"]), "chains": record["chains"],
        "ps_of_each": record["frames_per_chain"] * record["frame_interval_ps"],
        "path_seed": plan["path_seed"],
    }, temperatures  # fmt: skip
