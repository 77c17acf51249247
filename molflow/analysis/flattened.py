"""What a simulation under a static bias is worth: effective size, crossings, free energies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from molflow.analysis.torsion_wells import barrier_tops, well_edges, well_middles, well_of
from molflow.analysis.weighting import effective_size, normalised

#: Blocks of the jackknife: so many at least, equally many in every run.
_BLOCKS = 20
#: Frames nearer to the top of a barrier than this count as of the well they were in, degrees.
_MARGIN = 15.0


def crossings(angles: np.ndarray, edges: np.ndarray) -> int:
    """Return how often a run passes from one well of a torsion to another.

    Parameters
    ----------
    angles : ndarray, (n,)
        rad, in order of time.
    edges : ndarray, (k,)
        Tops of the barriers, from `well_edges`. A passage counts when the run is 15 degrees past
        the top.
    """
    if not len(edges):
        return 0
    gap = (np.degrees(angles)[:, None] - barrier_tops(edges) + 180.0) % 360.0 - 180.0
    inside = np.abs(gap).min(axis=1) > _MARGIN
    return int(np.count_nonzero(np.diff(well_of(angles, edges)[inside])))


def free_energy_of(inside: Sequence[np.ndarray], log_weights: Sequence[np.ndarray]) -> dict:
    """Return -ln[P(inside) / P(rest)] of weighted runs with its error, in kT.

    Parameters
    ----------
    inside : sequence of ndarray of bool, (F,) each
        Marks of every run, in order of time.
    log_weights : sequence of ndarray, (F,) each
        Up to a constant that is common to all runs.

    Returns
    -------
    dict
        ``value``, ``error`` and ``interval`` (95 %) by a jackknife over blocks of the runs with
        Student's factor, ``by_run`` and ``blocks``; None where a side was never seen.
    """
    top = max(float(np.max(values)) for values in log_weights)
    each = -(-_BLOCKS // len(inside))
    pairs: list[tuple[float, float]] = []
    runs = []
    for marks, values in zip(inside, log_weights, strict=True):
        weight = np.exp(values - top)
        parts = [
            (w[m].sum(), w[~m].sum())
            for m, w in zip(np.array_split(marks, each), np.array_split(weight, each), strict=True)
        ]
        pairs += parts
        runs.append(np.sum(parts, axis=0))
    sums = np.array(pairs)
    whole = sums.sum(axis=0)

    def energy(pair: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(pair[..., 1]) - np.log(pair[..., 0])

    value, without = energy(whole), energy(whole - sums)
    count = len(sums)
    known = bool(np.isfinite(value) and np.isfinite(without).all())
    error = interval = None
    if known:
        error = float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2)))
        half = float(student.ppf(0.975, count - 1)) * error
        interval = [float(value) - half, float(value) + half]
    return {
        "value": float(value) if np.isfinite(value) else None,
        "error": error,
        "interval": interval,
        "by_run": [float(v) if np.isfinite(v) else None for v in map(energy, runs)],
        "blocks": count,
    }


def flattened_record(
    names: Sequence[str],
    angles: Sequence[np.ndarray],
    log_weights: Sequence[np.ndarray],
    frame_interval: float,
) -> dict:
    """Return what is stored of runs under a bias, ready for JSON.

    Parameters
    ----------
    names : sequence of str
        Of the T torsions of the bias.
    angles : sequence of ndarray, (F, T) each
        Torsions of the frames of every run, rad.
    log_weights : sequence of ndarray, (F,) each
    frame_interval : float
        ps.

    Returns
    -------
    dict
        ``frames``, ``effective_size`` and, for each torsion, its ``wells`` (``middle`` in degrees,
        ``share``, ``delta_f`` against the rest) and ``crossings`` between them;
        ``delta_f_alpha_l`` if one torsion is called phi.
    """
    weights = normalised(np.concatenate(log_weights))
    together = np.concatenate(angles)
    nanoseconds = len(together) * frame_interval * 1e-3
    torsions = []
    for place, name in enumerate(names):
        edges = well_edges(together[:, place], weights)
        runs = [run[:, place] for run in angles]
        passed = sum(crossings(run, edges) for run in runs)
        wells = []
        for well, middle in enumerate(well_middles(edges) if len(edges) else ()):
            marks = [well_of(run, edges) == well for run in runs]
            found = free_energy_of(marks, log_weights)
            share = float(weights[np.concatenate(marks)].sum())
            wells.append({"middle": float(middle), "share": share, "delta_f": found})
        torsions.append({
            "name": name, "crossings": passed, "crossings_per_ns": passed / nanoseconds,
            "wells": wells,
        })  # fmt: skip
    size = effective_size(len(together), weights)
    record = {
        "frames": len(together), "effective_size": size, "effective_share": size / len(together),
        "torsions": torsions,
    }  # fmt: skip
    if "phi" in names:
        phi = list(names).index("phi")
        marks = [(run[:, phi] > 0) & (run[:, phi] < 2) for run in angles]
        record["delta_f_alpha_l"] = free_energy_of(marks, log_weights)
    return record


def format_flattened(record: dict) -> str:
    """Return the record as lines for the terminal."""
    lines = [
        f"{record['frames']} weighted frames, worth {record['effective_size']:.0f} equally "
        f"weighted ones ({record['effective_share']:.0%})"
    ]
    for torsion in record["torsions"]:
        wells = f"{len(torsion['wells'])} wells" if torsion["wells"] else "one well"
        lines.append(
            f"{torsion['name']}: {wells}, {torsion['crossings']} crossings "
            f"({torsion['crossings_per_ns']:.3g} a ns)"
        )
        lines += [
            f"  well about {well['middle']:.0f} degrees: {_energy(well['delta_f'])}"
            for well in torsion["wells"]
        ]
    if "delta_f_alpha_l" in record:
        lines.append(f"alpha-L (0 < phi < 2 rad): {_energy(record['delta_f_alpha_l'])}")
    return "\n".join(lines)


def _energy(found: dict) -> str:
    if found["value"] is None:
        return "never left or never seen"
    text = f"{found['value']:.3f} kT above the rest"
    if found["interval"] is None:
        return f"{text}, error not known"
    low, high = found["interval"]
    return f"{text} (95 % interval {low:.3f} to {high:.3f})"
