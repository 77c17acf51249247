"""What a run within a budget did, in sentences, and what would help most."""

from __future__ import annotations

import csv
from pathlib import Path

from molflow.files import read_json
from molflow.systems import MolecularSystem

#: Scores of a training by the first part of their name, and how they are told.
_LEARNED = {
    "val/torsion_js_distance": "distance of torsions from the validation run's (Jensen-Shannon)",
    "val/distance_w1": "distance of distances from the validation run's, nm",
    "val/intact": "share of samples with all bonds near their length",
    "val/bond_sd_ratio": "width of bonds over that of the validation run",
}
#: Independent conformations of what is held out below which longer dynamics help most.
_FEW, _MANY_STEPS = 100, 10_000


def account_of(
    system: MolecularSystem, manifest: dict, decided: dict, out: Path, calls: int
) -> list[str]:
    """Return what was done and what was learned, one sentence a stage.

    Parameters
    ----------
    system : MolecularSystem
        Whose atoms are learned.
    manifest : dict
        Of the training set.
    decided : dict
        What `molflow.budget.Budget` keeps.
    out : Path
        Folder of the run.
    calls : int
        Network calls a conformation.
    """
    source, split = manifest["source"], manifest["split"]
    frames = [run["frames"] for run in source["runs"]]
    interval = source["frame_interval_ps"]
    held = ", ".join(map(str, split["held_out"]))
    if "dynamics" in decided:
        cost = decided["least"]
        first = (
            f"Dynamics: {len(frames)} runs of {interval * min(frames):.3g} to "
            f"{interval * max(frames):.3g} ps, a frame each {interval:g} ps, "
            f"{1e3 * cost['seconds_a_step']:.2g} ms a step on {cost['platform']}"
        )
    else:
        first = (
            f"Frames that were made before: {len(frames)} runs or blocks of {min(frames):,} to "
            f"{max(frames):,} frames, each {interval:g} ps"
        )
    said = [
        f"{first}; {manifest['frames']['train']:,} frames to train on, "
        f"{manifest['frames']['validation']:,} to validate, runs {held} held out.",
        decided["training"]["why"],
        _training(decided, manifest, out / "training" / "metrics.csv"),
        _sampling(read_json(out / "ensemble.json"), calls),
    ]
    if system.variant == "solute":
        said.insert(0, (
            "The whole box was simulated, and its solute learned: it has no energy of its own."
        ))  # fmt: skip
    return said


def _sampling(record: dict, calls: int) -> str:
    text = f"Sampling: {record['n']:,} conformations with {calls} network calls each."
    return " ".join([text, record.get("energies_left_out", "")]).strip()


def _training(decided: dict, manifest: dict, metrics: Path) -> str:
    steps, batch = decided["trained"], int(decided["training"]["words"][-1].partition("=")[2])
    seen = steps * batch / max(1, manifest["frames"]["train"])
    text = (
        f"Training: {steps:,} steps in {decided['training']['seconds']:.0f} s, each frame seen "
        f"about {seen:.2g} times"
    )
    with open(metrics, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for start, words in _LEARNED.items():
        for name in (name for name in (rows[-1] if rows else {}) if name.startswith(start)):
            values = [float(row[name]) for row in rows if row.get(name)]
            if len(values) > 1:
                text += f"; {words}: {values[0]:.2g} at first, {values[-1]:.2g} at last"
    return text + "."


def advice(judged: dict, manifest: dict, steps: int) -> list[str]:
    """Return what would help most, the first first: data, training or more network calls."""
    found = list(manifest["lacks"])
    effective = judged["statistics"]["reference_effective"]
    if effective is not None and effective < _FEW:
        found.insert(0, (
            f"The held-out dynamics hold about {effective:.0f} independent conformations: longer "
            "dynamics would help the map and the judgement most."
        ))  # fmt: skip
    if steps < _MANY_STEPS:
        found.append(
            f"Training took {steps:,} steps, and maps go on improving beyond {_MANY_STEPS:,}: give "
            "a larger budget."
        )
    if not found:
        found.append("More network calls a sample (molflow sample --steps 16) are the next thing.")
    return found
