"""Errors along one Brownian path: a map of dynamics and integrators against OpenMM's own forces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from molflow.errors import MolflowError
from molflow.maps.langevin.inertial import InertialFlowMap
from molflow.md.driven import DrivenDynamics
from molflow.propagation.motion import Motion, start_state
from molflow.propagation.paths import ChainPaths, ChainResiduals
from molflow.sde.underdamped import UnderdampedLangevin
from molflow.systems import MolecularSystem
from molflow.units import thermal_energy

#: ps. States are compared at multiples of GRID, the longest lag.
GRID = 0.04
#: fs. Of the true solution and of that under learned forces, both by the scheme of order 2.
FINE = 1e3 * GRID / 512
#: fs. Beyond the longest BAOAB is not stable, and Euler-Maruyama heats vibrations at any step.
LAGS = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
STEPS = {
    "baoab": (0.25, 0.5, 1.0, 2.0, 5.0),
    "euler_maruyama": (0.03125, 0.0625, 0.125, 0.25, 1.0),
}
#: From here on the order of a scheme is its slope, fs.
ASYMPTOTIC = 1.0
#: sqrt(kT/m): beyond that the walk has nothing to do with the path any more.
_LOST = 10.0


def driven(
    system: MolecularSystem, scheme: str, step: float, sde: UnderdampedLangevin, temperature: float,
    x: Tensor, paths: ChainPaths, points: int, grid: float = GRID,
) -> np.ndarray:  # fmt: skip
    """Return the states at the points of the grid, (points, chains, 2, atoms, 3).

    Parameters
    ----------
    step : float
        fs.
    sde : UnderdampedLangevin
        Whose noise and friction it is.
    x : Tensor, (chains, 2, atoms, 3)
        At time 0.
    """
    count = round(1e3 * grid / step)
    dynamics = DrivenDynamics(system, scheme, grid / count, temperature, sde.friction)
    states, found = x.numpy().copy(), []
    for point in range(points):
        features = {"W": [], "E1": [], "E2": []}
        for k in range(count):
            s, t = (grid * (point + i / count) for i in (k, k + 1))
            increment = paths.increment(s, t)
            both = sde.martingale(torch.tensor(s), torch.tensor(t), increment) / sde.sigma
            features["W"].append(increment.increment.numpy())
            features["E1"].append(both[:, 1].numpy())
            features["E2"].append(both[:, 0].numpy())
        rows = {name: np.stack(values, axis=1) for name, values in features.items()}
        for chain, state in enumerate(states):
            own = {name: values[chain] for name, values in rows.items()}
            states[chain] = np.stack(dynamics.walk(*state, own))
        found.append(states.copy())
    return np.array(found)


def by_map(
    flow_map, lag: float, x: Tensor, paths: ChainPaths, points: int, grid: float = GRID,
    residuals: ChainResiduals | None = None,
) -> np.ndarray:  # fmt: skip
    """Return the same of a flow map in steps of `lag` fs, with noise after each if there is any."""
    motion, found = Motion(flow_map, residuals=residuals), []
    for point in range(points):
        x = motion.walk(x, paths, point * grid, grid, round(1e3 * grid / lag))
        found.append(x.numpy().copy())
    return np.array(found)


def on_learned_force(
    flow_map, step: float, x: Tensor, paths: ChainPaths, points: int, grid: float = GRID
) -> np.ndarray:
    """Return the same under the map's force at h = 0, by the scheme of order 2.

    It is what the map would give if it followed its own force without error.
    """
    like = next(flow_map.parameters())
    sde, count, found = flow_map.sde, round(1e3 * grid / step), []
    h = torch.tensor(grid / count, dtype=torch.float64)

    def kick(x: Tensor) -> Tensor:
        with torch.no_grad():
            force = flow_map.force(x[:, 0].to(like)).to(x)
        return torch.stack([0.0 * force, 0.5 * h * force / sde.masses.to(x)], dim=1)

    change = kick(x)
    for point in range(points):
        for k in range(count):
            s, t = (grid * (point + i / count) for i in (k, k + 1))
            x = sde.apply(0.0 * h, h, x + change, torch.zeros_like(x), paths.increment(s, t))
            change = kick(x)
            x = x + change
        found.append(x.numpy().copy())
    return np.array(found)


def squares(states: np.ndarray, truth: np.ndarray, masses: np.ndarray, energy: float) -> np.ndarray:
    """Return mean squared errors of every chain, (2, chains): positions Å², velocities kT/m.

    Means over points and atoms of the squared length of the error, so that velocities which have
    nothing to do with each other differ by sqrt(6) thermal units.
    """
    with np.errstate(all="ignore"):
        length = ((states - truth) ** 2).sum(axis=-1)
        return np.stack([
            100.0 * length[:, :, 0].mean(axis=(0, 2)),
            (length[:, :, 1] * masses).mean(axis=(0, 2)) / energy,
        ])  # fmt: skip


def order(steps: list[float], errors: np.ndarray, seed: int = 0) -> dict | None:
    """Return the slope of log RMSE on log step and its 95 % interval over chains.

    Parameters
    ----------
    steps : list of float
    errors : ndarray, (steps, chains)
        Mean squared errors.
    """
    if len(steps) < 2:
        return None

    def slope(chosen: np.ndarray) -> float:
        return float(np.polyfit(np.log(steps), 0.5 * np.log(errors[:, chosen].mean(axis=1)), 1)[0])

    rng, chains = np.random.default_rng(seed), errors.shape[1]
    draws = [slope(rng.integers(chains, size=chains)) for _ in range(400)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": slope(np.arange(chains)), "interval": [float(low), float(high)]}


def table(walks: dict[float, Callable[[], np.ndarray]], truth: np.ndarray, masses, energy) -> dict:
    """Return errors by step in fs, of all points and of the first, and orders over all.

    None where a walk was lost.
    """
    rows, early, kept = {}, {}, {}
    for step, walk in walks.items():
        try:
            states = walk()
        except MolflowError:
            states = np.full_like(truth, np.inf)
        found = squares(states, truth, masses, energy)
        rows[f"{step:g}"] = row(found)
        early[f"{step:g}"] = row(squares(states[:1], truth[:1], masses, energy))
        if rows[f"{step:g}"]["velocity_thermal"] is not None:
            kept[step] = found
    asymptotic = [step for step in kept if step <= ASYMPTOTIC]
    fitted = asymptotic if len(asymptotic) > 1 else list(kept)
    orders = {
        name: order(fitted, np.array([kept[step][axis] for step in fitted]))
        for axis, name in enumerate(("position", "velocity"))
    }
    return {"errors": rows, "errors_at_the_first_point": early, "order": orders}


def row(found: np.ndarray) -> dict[str, float | None]:
    """Return root mean squares of what `squares` gives, None where a walk was lost."""
    with np.errstate(all="ignore"):
        position, velocity = np.sqrt(found.mean(axis=1))
    sound = np.isfinite(found).all() and velocity < _LOST
    return {
        "position_angstrom": float(position) if sound else None,
        "velocity_thermal": float(velocity) if sound else None,
    }


def strong(
    flow_map: InertialFlowMap, system: MolecularSystem, starts: np.ndarray, points: int, seed: int
) -> dict:
    """Return strong errors of the map and of integrators on the same paths.

    Parameters
    ----------
    flow_map : InertialFlowMap
    system : MolecularSystem
        With the true force.
    starts : ndarray, (chains, atoms, 3)
        nm.
    points : int
        Length of the paths in GRID.
    seed : int
        Of velocities and paths.
    """
    sde, temperature = flow_map.sde, flow_map.temperature
    paths = ChainPaths(flow_map.basis, len(starts), starts.shape[1], seed)
    x, energy = start_state(flow_map, starts, seed), thermal_energy(temperature)
    masses = sde.masses.double().numpy().ravel()

    def by_openmm(scheme: str, step: float) -> Callable[[], np.ndarray]:
        return lambda: driven(system, scheme, step, sde, temperature, x, paths, points)

    truth = by_openmm("bub", FINE)()
    learned = on_learned_force(flow_map, FINE, x, paths, points)
    lags = [lag for lag in LAGS if lag <= 1e3 * flow_map.longest_lag * (1 + 1e-6)]
    by_lag = {lag: by_map(flow_map, lag, x, paths, points) for lag in lags}
    walks = {lag: lambda lag=lag: by_lag[lag] for lag in lags}
    steps = {"openmm": {}, "own_force": {}}
    for lag in lags:
        one, grid = by_map(flow_map, lag, x, paths, 1, 1e-3 * lag), 1e-3 * lag
        true = driven(system, "bub", FINE, sde, temperature, x, paths, 1, grid)
        own = on_learned_force(flow_map, FINE, x, paths, 1, grid)
        for name, other in (("openmm", true), ("own_force", own)):
            steps[name][f"{lag:g}"] = row(squares(one, other, masses, energy))
    result = {
        "map_after_one_step": steps,
        "map": table(walks, truth, masses, energy),
        "map_against_its_own_force": table(walks, learned, masses, energy),
        "learned_force": table({FINE: lambda: learned}, truth, masses, energy)["errors"],
        "reference_at_twice_the_step": table(
            {2 * FINE: by_openmm("bub", 2 * FINE)}, truth, masses, energy
        )["errors"],
    }
    for scheme, chosen in STEPS.items():
        walks = {step: by_openmm(scheme, step) for step in chosen}
        result[scheme] = table(walks, truth, masses, energy)
    return result | {"chains": len(starts), "points": points, "grid_fs": 1e3 * GRID,
                     "reference_step_fs": FINE, "seed": seed}  # fmt: skip
