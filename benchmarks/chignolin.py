"""Chignolin on the record: a part of `many_molecules.py`.

Conformations that a trained map draws in 1 to 100 network calls (`gpu/sampling_counts.py`, which
also says what they take), against the ladders of the reference that no map has seen; the same
scores between the ladders for training and those, which is what nothing that learned from the
former can be below for sure; the published table beside them, of another reference.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np
from alanine_peptides import columns
from matplotlib.figure import Figure
from record import markdown, once, save

from molflow.analysis.reference import Reference, load_reference
from molflow.analysis.torsion_list import measure_torsions, torsion_list
from molflow.analysis.torsion_metrics import torus_w2
from molflow.comparison import compare
from molflow.files import read_arrays, read_json
from molflow.refinement.refine import refine
from molflow.step_study.summary import figures as figures_of
from molflow.step_study.summary import summarise
from molflow.systems import load_system

SYSTEM, CALLS = "chignolin", (1, 2, 4, 8, 16, 32, 64, 100)
REFINED_CALLS, REFINED, REFINE = 8, 256, 200
#: Torus W2 and TICA W2 of 10,000 samples each as Wang et al. (SSFM, arXiv 2606.01086) print them.
PUBLISHED = {
    "SSFM": (
        (2.439, 2.060, 1.824, 1.764, 1.733, 1.707, 1.694, 1.670),
        (0.758, 0.530, 0.414, 0.368, 0.335, 0.316, 0.290, 0.304),
    ),
    "diffusion": (
        (4.737, 5.882, 5.587, 2.716, 1.793, 1.714, 1.699, 1.735),
        (1.976, 19.147, 3.236, 0.712, 0.323, 0.262, 0.266, 0.330),
    ),
}


def drawn(checkpoint: Path, work: Path, n: int, device: str) -> tuple[dict, dict]:
    """Return conformations in nm by calls, and what they took; drawn where not yet done."""
    if not (work / "samples.npz").exists():
        script = Path(__file__).parent / "gpu/sampling_counts.py"
        words = ["--checkpoint", checkpoint, "--n", n, "--seconds", 3600, "--device", device]
        words += ["--out", work]
        subprocess.run([sys.executable, script, *map(str, words)], check=True)
    stored = read_arrays(work / "samples.npz")
    return (
        {name.removeprefix("calls_"): xyz for name, xyz in stored.items()},
        read_json(work / "sampling.json"),
    )


def row_of(xyz: np.ndarray, reference: Path) -> dict:
    """Return the scores of conformations in nm, (n, atoms, 3)."""
    finite = np.isfinite(xyz).all((1, 2))
    if not finite.all():
        return {"n": len(xyz), "finite": int(finite.sum())}
    topology = load_system(SYSTEM).topology()
    result = compare(mdtraj.Trajectory(xyz, topology), reference, jobs=1)
    found = {"n": len(xyz), **summarise([figures_of(result)])}
    for name in ("torus_w2", "tica_w2"):
        found[name] = result["metrics"][name]["value"]
    return found


def refined(xyz: np.ndarray, reference: Path) -> dict:
    """Return the scores after some steps of dynamics under the force field."""
    trajectory = mdtraj.Trajectory(xyz, load_system(SYSTEM).topology())
    walked = refine(trajectory, steps=REFINE, system=SYSTEM, jobs=1, progress=False)
    return row_of(walked.xyz, reference)


def of_training(reference: Reference, n: int, folder: Path) -> dict:
    """Return the scores of frames of the ladders for training, n drawn at random."""
    others = ~np.isin(reference.replica[reference.position_frame], reference.held_out_runs)
    frames = np.flatnonzero(others)
    chosen = np.random.default_rng(0).permutation(frames)[:n]
    return row_of(reference.positions[chosen], folder)


def of_reference(reference: Reference) -> dict:
    """Return how far sets of ladders are from each other, torus W2 in rad.

    Ladders alternate: begun folded, begun extended.
    """
    backbone = [
        k for k, name in enumerate(reference.torsion_names) if name.startswith(("phi", "psi"))
    ]
    runs = [reference.torsions[reference.replica == run][:, backbone] for run in reference.runs]

    def distance(one: range, other: range) -> float:
        sides = (np.concatenate([runs[k] for k in ladders]) for ladders in (one, other))
        return torus_w2(*sides, np.random.default_rng(0))

    count = len(runs)
    half = count // 2
    return {
        "ladders": count, "frames": len(reference.torsions),
        "frame_interval_ps": reference.frame_interval_ps,
        "torus_w2": {
            "training and reference": distance(range(half), range(half, count)),
            "begun folded and extended": distance(range(0, count, 2), range(1, count, 2)),
            "halves begun folded": distance(range(0, half, 2), range(half, count, 2)),
            "halves begun extended": distance(range(1, half, 2), range(half + 1, count, 2)),
        },
    }  # fmt: skip


def chignolin_scores(work: Path, out: Path, n: int, device: str) -> tuple[dict, str]:
    """Return all scores of the shipped map, and the hash of its weights.

    Finished parts stay in `work`, a picture goes to `out`.
    """
    place = load_system(SYSTEM).folder
    checkpoint, folder = place / "checkpoint", place / "reference"
    reference = load_reference(folder)
    samples, told = drawn(checkpoint, work, n, device)
    rows = {}
    for calls in map(str, CALLS):
        if calls not in samples:
            continue
        xyz = samples[calls]
        row = once(work / f"scores-{calls}.json", lambda xyz=xyz: row_of(xyz, folder))
        rows[calls] = row | told["calls"][calls]
        print(calls, row.get("torus_w2"), row.get("tica_w2"), row.get("valid"), flush=True)
    floor = once(work / "scores-training.json", lambda: of_training(reference, n, folder))
    if np.isfinite(samples[str(REFINED_CALLS)]).all():
        rows[str(REFINED_CALLS)]["refined"] = once(
            work / "scores-refined.json",
            lambda: refined(samples[str(REFINED_CALLS)][:REFINED], folder),
        )
    picture(samples, reference, out / "chignolin.png")
    description = read_json(checkpoint / "model.json")
    record = description["record"]
    training = {key: record[key] for key in ("steps", "frames", "seconds", "machine")}
    start = record.get("start")
    training["before"] = start["record"]["seconds"] if start else 0
    summary = {
        "map": rows, "training_ladders": floor, "reference": of_reference(reference),
        "device": told["device"], "refine_steps": REFINE, "training": training,
    }  # fmt: skip
    return summary, description["weights_sha256"]


def picture(samples: dict, reference: Reference, path: Path) -> None:
    """Draw phi and psi of all residues of the map's conformations beside the reference's."""
    topology = load_system(SYSTEM).topology()
    held = reference.held_out()
    sides = {"reference": held.torsions}
    for calls in ("4", "8", "100"):
        if calls in samples and np.isfinite(samples[calls]).all():
            sides[f"{calls} calls"] = measure_torsions(samples[calls], torsion_list(topology))
    pairs = columns(held.torsion_names)
    figure = Figure(figsize=(1.7 * len(pairs), 1.9 * len(sides)), layout="constrained")
    axes = figure.subplots(len(sides), len(pairs), sharex=True, sharey=True)
    for row, (label, angles) in zip(axes, sides.items(), strict=True):
        for axis, pair in zip(row, pairs.values(), strict=True):
            axis.plot(*np.degrees(angles[:, pair]).T, ",", alpha=0.5)
            axis.set(xlim=(-180, 180), ylim=(-180, 180), xticks=(-90, 90), yticks=(-90, 90))
        row[0].set_ylabel(f"{label}\nψ / °")
    for axis, residue in zip(axes[0], pairs, strict=True):
        axis.set_title(residue)
    for axis in axes[-1]:
        axis.set_xlabel("φ / °")
    save(figure, path)


def chignolin_table(results: dict) -> str:
    """Return the scores as Markdown, the published ones beside them."""
    summary = results["summary"]["chignolin"]

    def number(row: dict, name: str, form: str) -> str:
        value = row.get(name)
        return "–" if value is None else format(value, form)

    rows = []
    for place, calls in enumerate(CALLS):
        row = summary["map"].get(str(calls))
        if row is None:
            continue
        rows.append(_line(str(calls), row, number, place))
        if "refined" in row:
            rows.append(_line(f"{calls}, refined", row["refined"], number, None))
    rows.append(_line("MD, ladders for training", summary["training_ladders"], number, None))
    heads = [
        "network calls", "n", "torus W2 / rad", "SSFM", "diffusion", "TICA W2", "SSFM",
        "diffusion", "energy W2 / kT", "valid", "wrong hands", "ms each", "MB each",
    ]  # fmt: skip
    return markdown(heads, rows)


def _line(said: str, row: dict, number, place: int | None) -> list[str]:
    printed = [
        "–" if place is None else f"{PUBLISHED[name][score][place]:.3f}"
        for score in (0, 1) for name in PUBLISHED
    ]  # fmt: skip
    milliseconds, memory = row.get("seconds_a_sample"), row.get("peak_bytes_a_sample")
    return [
        said, f"{row['n']:,}",
        number(row, "torus_w2", ".3f"),
        *printed[:2],
        number(row, "tica_w2", ".3f"),
        *printed[2:],
        number(row, "energy_w2", ".3g"),
        number(row, "valid", ".1%"), number(row, "wrong_hand", ","),
        "–" if milliseconds is None else f"{1e3 * milliseconds:.1f}",
        "–" if memory is None else f"{memory / 1e6:.0f}",
    ]  # fmt: skip
