"""`molflow kinetics`: slow modes of a reference, fitted once and stored, and their times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import molflow
from molflow.errors import MolflowError
from molflow.files import replacing, writable_folder, write_json
from molflow.parts import alone_in
from molflow.units import parse_quantity

if TYPE_CHECKING:
    from molflow.analysis.kinetics.slow_modes import SlowModes
    from molflow.analysis.kinetics.time_series import TorsionSeries
    from molflow.analysis.reference import Reference

#: Lags of the implied time scales in units of the lag time, and multiples of the later test.
_LAGS = (0.1, 0.2, 0.5, 1, 2, 4)
_MULTIPLES = [1, 2, 3, 5, 8]
_PROCESSES = 3
#: Curves in the picture of what torsions remember.
_CURVES = 6


@alone_in
def kinetics(
    reference: str | Path,
    out: str | Path,
    lag: str | float = "10ps",
    states: int = 50,
    seed: int = 0,
    *,
    top: str | Path | None = None,
    frame_interval: str | float | None = None,
) -> dict:
    """Fit the slow modes of plain molecular dynamics and tell how fast they are.

    Parameters
    ----------
    reference : str or path
        A built-in system, a folder with ``reference.json``, a simulation folder, or any trajectory
        that `molflow.compare` reads. Made without tempering, which has no kinetics; a trajectory
        that does not say how it was made is taken to be one run of plain dynamics.
    out : path
        Folder for ``slow_modes.json`` and ``.npz`` (see
        `molflow.analysis.kinetics.slow_modes.load_slow_modes`), ``kinetics.json`` and
        ``kinetics.png``.
    lag : str, float or quantity
        Lag time of TICA and the Markov model; a float is in ps.
    states : int
        Of the Markov model.
    seed : int
        Of the states and the bootstraps.
    top : path, optional
        Topology of a trajectory without one; by default ``topology.pdb`` beside it.
    frame_interval : str, float or quantity, optional
        Time between the frames of a trajectory whose file does not tell it, such as DCD; a float is
        in ps.

    Returns
    -------
    dict
        JSON-safe: ``timescales`` (`molflow.analysis.kinetics.markov.implied_timescales`),
        ``chapman_kolmogorov``, ``passages``
        (`molflow.analysis.kinetics.passage.passage_times`, with ``residue``, of every residue with
        phi and psi),
        ``torsion_memory`` (time in ps in which the autocorrelation falls to 1/e, None if later
        than four lag times), sizes and provenance.

    Raises
    ------
    MolflowError
        If the reference is of tempering, its times are not known or have gaps, the molecule has no
        torsion, or the lag does not fit.
    """
    from molflow.analysis.kinetics import kinetic_plots
    from molflow.analysis.kinetics.autocorrelation import torsion_autocorrelation
    from molflow.analysis.kinetics.markov import chapman_kolmogorov, implied_timescales
    from molflow.analysis.kinetics.slow_modes import fit_slow_modes
    from molflow.analysis.kinetics.time_series import time_ordered
    from molflow.comparison import find_reference

    truth = find_reference(reference, top)
    truth, notes = _with_times(truth, frame_interval)
    series = time_ordered(truth, taken_as_plain="trajectory" in truth.provenance)
    if not truth.torsion_names:
        raise MolflowError(
            f"'{truth.system}' has no torsion, and slow motions are looked for in torsions: there "
            "is nothing to fit."
        )
    lag_ps = parse_quantity(lag, "time", "lag")
    frames = series.lag(lag_ps)
    longest = max(map(len, series.runs))
    lags = sorted({max(1, round(k * frames)) for k in _LAGS})
    if longest <= max(max(lags), frames * max(_MULTIPLES)):
        raise MolflowError(
            f"lag is {lag_ps:g} ps, and the longest run of {longest * series.interval:g} ps is "
            f"not {max(_MULTIPLES)} times longer: choose a shorter lag or simulate longer."
        )
    out = writable_folder(out)
    modes = fit_slow_modes(series, lag_ps, states=states, seed=seed)
    modes.save(out)
    labels = [modes.label(run) for run in series.runs]
    times = implied_timescales(labels, lags, series.interval, states, _PROCESSES, seed)
    test = chapman_kolmogorov(labels, frames, _MULTIPLES, states, seed=seed)
    reach = 4 * frames * series.interval
    memory = {
        name: torsion_autocorrelation(series, column, reach, seed)
        for column, name in enumerate(truth.torsion_names)
    }
    result = {
        "timescales": times,
        "chapman_kolmogorov": {key: test[key] for key in ("rows", "verdict", "largest")},
        "passages": _passages(truth, series, seed),
        "torsion_memory": {name: _falls_to(curve) for name, curve in memory.items()},
        "notes": notes,
        "lag_ps": lag_ps,
        "states": states,
        "connected_states": len(modes.states),
        "system": truth.system,
        "ensemble_hash": truth.ensemble_hash,
        "runs": len(series.runs),
        "length_ps": series.length,
        "seed": seed,
        "molflow": molflow.__version__,
    }
    result = _without_nan(result)
    write_json(out / "kinetics.json", result)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 7.4), layout="constrained")
    (upper, lower) = figure.subplots(2, 2)
    kinetic_plots.implied_timescales(times, upper[0])
    kinetic_plots.chapman_kolmogorov(test, lag_ps, upper[1])
    kinetic_plots.autocorrelation(_slowest(memory), lower[0])
    _surface(truth, modes, lower[1])
    with replacing(out / "kinetics.png") as temporary:
        figure.savefig(temporary, dpi=150)
    return result


def _with_times(
    truth: Reference, frame_interval: str | float | None
) -> tuple[Reference, list[str]]:
    """Return a reference with the time between frames that was said, and what to note of it."""
    notes = list(truth.provenance.get("notes", ()))
    if frame_interval is not None:
        told = parse_quantity(frame_interval, "time", "frame_interval")
        own = truth.frame_interval_ps
        if not told > 0:
            raise MolflowError(f"frame_interval is {frame_interval}: give a time above 0.")
        if own is not None and abs(own - told) > 1e-3 * own:
            raise MolflowError(
                f"frame_interval is {told:g} ps, and the frames of '{truth.system}' are {own:g} ps "
                "apart by their own times: leave it out."
            )
        truth = replace(truth, frame_interval_ps=told)
    if "trajectory" in truth.provenance and "simulation" not in truth.provenance:
        notes.append(
            f"'{truth.system}' does not say how it was made, and was taken to be one run of plain "
            "dynamics: frames of tempering, of a bias or of several runs have no such kinetics."
        )
    return truth, notes


def _without_nan(value):
    """Return nested results with None for what is not a number, as ends of intervals may be."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _passages(truth: Reference, series: TorsionSeries, seed: int) -> list[dict]:
    """Return the passages between the basins of every residue with phi and psi."""
    from molflow.analysis.kinetics.passage import passage_times
    from molflow.analysis.torsion_list import backbone_pairs, torsion_list

    found, rows = torsion_list(truth.topology), []
    for pair in backbone_pairs(found):
        own = replace(series, runs=tuple(run[:, list(pair)] for run in series.runs))
        named = truth.torsion_names[pair[0]].partition(" ")[2]
        residue = named or str(truth.topology.residue(found[pair[0]].residue))
        rows += [{"residue": residue, **row} for row in passage_times(own, seed=seed)]
    return rows


def _slowest(memory: dict[str, dict]) -> dict[str, dict]:
    """Return the curves of the torsions that remember longest, as many as a picture can tell."""
    total = {name: float(np.nansum(curve["value"])) for name, curve in memory.items()}
    longest = sorted(total, key=lambda name: total[name], reverse=True)
    return {name: memory[name] for name in longest[:_CURVES]}


def _surface(truth: Reference, modes: SlowModes, axes) -> None:
    """Draw the free energy over phi and psi of the only residue, or over two slow coordinates."""
    from molflow.analysis.plots import free_energy_map, free_energy_surface
    from molflow.analysis.torsion_list import backbone_pairs, torsion_list

    pairs = backbone_pairs(torsion_list(truth.topology))
    if len(pairs) == 1:
        free_energy_map(truth.torsions[:, list(pairs[0])], axes)
    else:
        slow = modes.project(truth.torsions)
        free_energy_surface(slow[:, 0], slow[:, -1], axes=axes)


def _falls_to(curve: dict, level: float = np.exp(-1)) -> float | None:
    """Return the first time at which an autocorrelation is below a level, None if there is none."""
    below = np.flatnonzero(curve["value"] < level)
    return float(curve["times"][below[0]]) if len(below) else None


def format_kinetics(result: dict) -> str:
    """Return what is known of the times of slow motions, one sentence a line."""
    count = result["runs"]
    lines = [
        f"{result['system']}: {result['length_ps'] / 1000:g} ns of plain dynamics in "
        f"{count} run{'' if count == 1 else 's'}, lag time {result['lag_ps']:g} ps."
    ]
    lines += result["notes"]
    for row in result["timescales"]:
        if row["lag_ps"] == result["lag_ps"] and row["value_ps"] is not None:
            name = f"Process {row['process'] + 1}"
            if row["verdict"] == "resolved":
                low, high = row["interval_ps"]
                lines.append(
                    f"{name} relaxes in {row['value_ps']:.3g} ps (95 % interval {low:.3g} to "
                    f"{high:.3g}, crossed {row['crossings']} times)."
                )
            else:
                lines.append(f"{name} is inconclusive: {row['reason']}")
    test = result["chapman_kolmogorov"]
    off = "nothing could be predicted" if test["largest"] is None else (
        f"predictions are off by {test['largest']:.3f} at most"
    )
    lines.append(f"Chapman–Kolmogorov: {test['verdict']}, {off}.")
    residues = {row["residue"] for row in result["passages"]}
    if len(residues) > 1:
        # Six passages a residue: of many residues those that are known.
        known = [row for row in result["passages"] if row["verdict"] == "resolved"]
        lines += [f"{row['residue']}: {row['sentence']}" for row in known]
        missing = len(result["passages"]) - len(known)
        lines += [f"{missing} passages between basins are inconclusive."] if missing else []
    else:
        lines += [row["sentence"] for row in result["passages"]]
    for name, time in result["torsion_memory"].items():
        later = "not yet lost" if time is None else f"lost to 1/e in {time:g} ps"
        lines.append(f"The memory of {name} is {later}.")
    return "\n".join(lines)
