"""What simulated time costs: a map of dynamics beside OpenMM, and when the map pays."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import openmm

from molflow.md.build import make_simulation
from molflow.propagation.motion import Motion, start_state
from molflow.propagation.paths import ChainPaths
from molflow.systems import MolecularSystem

CHAINS = (1, 64, 256)
#: Seconds for a force of one molecule, and who takes them.
FORCES = {
    1e-4: "a classical force field",
    1e-2: "a machine-learned potential",
    1.0: "a large machine-learned potential or a semi-empirical method",
    60.0: "an ab initio method",
}


def seconds_of(task: Callable[[], object], device: str, least: float) -> float:
    """Return seconds a call: of the processor, on an accelerator by the clock on the wall.

    Every task ends with its result in the memory of the processor.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    task()  # warm up
    calls, begun = 0, clock()
    while clock() - begun < least or calls < 3:
        task()
        calls += 1
    return (clock() - begun) / calls


def cost_of_map(
    flow_map, starts: np.ndarray, lag: float, device: str = "cpu", least: float = 5.0
) -> dict:
    """Return seconds a step, everything included, and nanoseconds a day, by number of chains.

    Parameters
    ----------
    lag : float
        fs.
    """
    rows = {}
    for chains in CHAINS:
        paths = ChainPaths(flow_map.basis, chains, starts.shape[1], 0)
        state = [start_state(flow_map, starts[np.arange(chains) % len(starts)], 0), 0.0]
        motion = Motion(flow_map)

        def step(state=state, paths=paths, motion=motion) -> None:
            later = state[1] + 1e-3 * lag
            state[0], state[1] = motion.step(state[0], paths.increment(state[1], later)), later

        seconds = seconds_of(step, device, least)
        rows[str(chains)] = {
            "seconds_a_step": seconds,
            "ns_a_day": chains * lag * 1e-6 * 86400 / seconds,
            "ns_a_day_of_one_chain": lag * 1e-6 * 86400 / seconds,
        }
    return rows


def cost_of_openmm(system: MolecularSystem, least: float = 5.0) -> dict:
    """Return the same of OpenMM on every platform: as the system says, and with hydrogens held.

    On one core; where there is a GPU, its platforms are timed by the clock on the wall. One
    molecule at a time, which leaves most of a GPU idle.
    """
    held = system.model_copy(update={"constraints": "HBonds", "timestep": 2.0})
    rows = {}
    for index in range(openmm.Platform.getNumPlatforms()):
        name = openmm.Platform.getPlatform(index).getName()
        device = "cpu" if name in ("Reference", "CPU") else "cuda"
        for kind, one in (("free", system), ("hydrogens_held", held)):
            try:
                simulation = make_simulation(one, one.temperature, 1, name)
                simulation.minimizeEnergy(maxIterations=20)

                def walk(simulation=simulation) -> None:
                    simulation.step(200)
                    simulation.context.getState(positions=True)

                seconds = seconds_of(walk, device, least) / 200
            except openmm.OpenMMException:
                continue  # a platform that is compiled in but has no device on this machine
            rows[f"{name} {kind}"] = {
                "timestep_fs": one.timestep, "seconds_a_step": seconds,
                "ns_a_day": one.timestep * 1e-6 * 86400 / seconds, "device": device,
            }  # fmt: skip
    return rows


def when_it_pays(seconds: float, lag: float, timestep: float) -> dict:
    """Return the cost of a force at which a map is as fast as integration, and examples.

    Parameters
    ----------
    seconds : float
        A step of the map for one chain.
    lag, timestep : float
        Of the map and of the integrator, fs; one force a time step.
    """
    even = seconds * timestep / lag
    return {
        "seconds_a_force_at_which_it_is_even": even,
        "times_faster_by_seconds_a_force": {
            f"{cost:g}": {"times_faster": cost / even, "such_as": who}
            for cost, who in FORCES.items()
        },
    }
