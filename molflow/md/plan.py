"""From what the caller asks for to the plan of a replica."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molflow.errors import MolflowError
from molflow.md.flattening import FlatteningPlan, parse_flatten
from molflow.md.replica import ReplicaPlan
from molflow.systems import MolecularSystem
from molflow.units import parse_quantity

#: ps between exchanges of temperatures, or the frame interval if that is shorter.
_EXCHANGE_INTERVAL = 0.5
#: Frames between checkpoints.
_SEGMENT_FRAMES = 100
#: kJ/mol up to which a bias flattens the free energy, and the time of the metadynamics.
CAP, BUILDING = 45.0, "4ns"


def parse_tempering(text: str | None, temperature: float) -> tuple[float, ...]:
    """Return the geometric ladder of temperatures in K of a text such as ``"300K:600K:6"``.

    Parameters
    ----------
    text : str or None
        Lowest, highest, how many. None for plain MD at one temperature.
    temperature : float
        The system's, which has to be the lowest, because its frames are the ones kept.

    Raises
    ------
    MolflowError
        If the text is not such a ladder.
    """
    if text is None:
        return (float(temperature),)
    parts = str(text).split(":")
    if len(parts) != 3 or not parts[2].strip().isdecimal():
        raise MolflowError(
            f"tempering is '{text}': write LOWEST:HIGHEST:COUNT, for example 300K:600K:6."
        )
    low, high = (parse_quantity(part, "temperature", "tempering") for part in parts[:2])
    count = int(parts[2])
    if low != temperature:
        raise MolflowError(
            f"tempering is '{text}', but the system is at {temperature:g} K: "
            f"the ladder has to start there, for example {temperature:g}K:{2 * temperature:g}K:6."
        )
    if count < 2 or not low < high < float("inf"):
        raise MolflowError(
            f"tempering is '{text}': a ladder needs at least 2 temperatures, the last the highest."
        )
    return tuple(float(value) for value in np.geomspace(low, high, count))


def plan_of(
    system: MolecularSystem,
    time,
    *,
    tempering: str | None = None,
    frame_interval="1ps",
    equilibration="100ps",
    seed: int = 0,
    platform: str = "Reference",
    flatten: str | Sequence[str] | None = None,
    cap: float = CAP,
    building=BUILDING,
) -> ReplicaPlan:
    """Return the plan of one replica, with the times checked against the time step.

    Raises
    ------
    MolflowError
        If a time is not a positive number of frames, or the frame interval of time steps.
    """
    temperatures = parse_tempering(tempering, system.temperature)
    interval = parse_quantity(frame_interval, "time", "frame_interval")
    step = system.timestep * 1e-3
    if not 0 < interval < float("inf"):
        raise MolflowError(f"frame_interval is {frame_interval}: give a positive time.")
    exchanges = 1
    if len(temperatures) > 1:
        exchanges = max(1, round(interval / _EXCHANGE_INTERVAL))
    _whole(interval / exchanges, step, "frame_interval", f"{exchanges} x {step:g} ps")
    frames = _whole(parse_quantity(time, "time", "time"), interval, "time", f"{interval:g} ps")
    dropped = parse_quantity(equilibration, "time", "equilibration")
    start = 0 if dropped == 0 else _whole(dropped, interval, "equilibration", f"{interval:g} ps")
    flattening = None
    if flatten is not None:
        flattening = _flattening(system, flatten, cap, building)
        if len(temperatures) > 1:
            raise MolflowError(
                f"tempering is '{tempering}' and flatten is '{flatten}': give one of them."
            )
    return ReplicaPlan(
        temperatures, frames, interval, exchanges, start, _SEGMENT_FRAMES, seed, platform,
        flattening,
    )  # fmt: skip


def _flattening(system: MolecularSystem, flatten, cap: float, building) -> FlatteningPlan:
    terms = parse_flatten(system, flatten)
    if isinstance(cap, bool) or not isinstance(cap, (int, float)) or not 0 < cap < float("inf"):
        raise MolflowError(f"cap is {cap!r}: give a positive energy in kJ/mol, such as {CAP:g}.")
    time = parse_quantity(building, "time", "building")
    interval = FlatteningPlan.frame_interval
    _whole(interval, system.timestep * 1e-3, "the time between Gaussians of metadynamics, 0.5 ps,",
           f"the time step, {system.timestep:g} fs")  # fmt: skip
    frames = _whole(time, interval, "building", f"{interval:g} ps")
    # Weights multiply: flattened as one term is, a few would leave next to no frames of worth.
    contrast = 1 + (FlatteningPlan.contrast - 1) / len(terms)
    return FlatteningPlan(terms, float(cap), frames, contrast)


def _whole(value: float, unit: float, name: str, shown: str) -> int:
    ratio = value / unit
    count = round(ratio) if np.isfinite(ratio) else 0
    if count < 1 or abs(ratio - count) > 1e-6 * count:
        raise MolflowError(
            f"{name} is {value:g} ps and has to be a positive multiple of {shown}: change one of "
            "them."
        )
    return count
