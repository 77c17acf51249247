"""How far a map's force gets with few labels and with many, in trainings of equal length."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from record import once

import molflow
from molflow.data.dataset import FORCES, HOT, TrainingData, load_forces
from molflow.files import read_arrays
from molflow.md.labelled_set import LabelledFrames, write_labelled
from molflow.systems import MolecularSystem
from molflow.training.checkpoint import load_checkpoint

#: Labels, and all there are besides; training steps, which cost the same with any number of them.
SIZES, STEPS = (500, 2000, 8000), 600
CONFIG = Path(__file__).parents[1] / "systems/alanine_dipeptide/training-dynamics.yaml"


def some_of(data: TrainingData, count: int, seed: int) -> dict[str, LabelledFrames]:
    """Return so many of the labels that are trained on, hot ones in proportion, and all others."""
    forces, generator = load_forces(data), np.random.default_rng(seed)
    found, whole = {}, {}
    for name in ("train", "validation", HOT):
        file = f"{HOT}.npz" if name == HOT else FORCES.format(name)
        energies = read_arrays(data.folder / file)["energies"]
        whole[name] = LabelledFrames(*getattr(forces, name), energies)
    many = {name: len(whole[name].positions) for name in ("train", HOT)}
    hot = round(count * many[HOT] / sum(many.values()))
    for name, wanted in (("train", count - hot), (HOT, hot)):
        rows = np.sort(generator.permutation(many[name])[:wanted])
        found[name] = LabelledFrames(*(part[rows] for part in whole[name]))
    return found | {"validation": whole["validation"]}


def force_error(checkpoint: str | Path, frames: np.ndarray, forces: np.ndarray) -> dict[str, float]:
    """Return the error of a map's force and of its formula alone, RMS in kJ/mol/nm."""
    flow_map = load_checkpoint(checkpoint).flow_map
    with torch.no_grad():
        x = torch.from_numpy(frames).float()
        known = torch.cat([flow_map.motion.bonded(part) for part in x.split(256)]).numpy()
        rest = torch.cat([flow_map.rest_force(part) for part in x.split(256)]).numpy()
    return {
        "force_error": float(np.sqrt(np.mean((known + rest - forces) ** 2))),
        "formula_error": float(np.sqrt(np.mean((known - forces) ** 2))),
    }


def learning_curve(
    system: MolecularSystem, data: TrainingData, work: Path, seed: int, compiled: bool
) -> list[dict]:
    """Return errors of the force on validation frames by number of labels.

    Each training matches forces from random weights for `STEPS` steps; the formula of bonds, angles
    and torsions is fitted to the same labels.
    """
    truth = load_forces(data).validation
    everything = len(data.train) + data.manifest["dynamics"]["hot_frames"]

    def row(count: int) -> dict:
        folder = work / f"labels-{count}"
        if not (folder / "manifest.json").exists():
            write_labelled(
                folder, system, some_of(data, count, seed),
                plan={"of": data.manifest["labels"]["hash"], "count": count, "seed": seed},
                split=data.manifest["split"],
                hot_temperature=data.manifest["dynamics"]["hot_temperature"],
            )  # fmt: skip
        begun = time.process_time()
        checkpoint = molflow.train(
            system, folder, work / f"trained-{count}", config=CONFIG, compiled=compiled,
            overrides=[
                "map.bonded=fitted", "optimiser=soap", "learning_rate=0.003", f"steps={STEPS}",
                f"objective.local_steps={STEPS}", "learning_rate_warmup=50",
                f"learning_rate_decay={2 * STEPS // 3}", "steps_per_epoch=100",
                "validate_every=1000", f"seed={seed}",
            ],
            progress=False,
        )  # fmt: skip
        seconds = time.process_time() - begun
        found = force_error(checkpoint, *truth)
        return {"labels": count, "steps": STEPS, "core_seconds": seconds} | found

    sizes = *(size for size in SIZES if size < everything), everything
    return [once(work / f"row-{count}.json", partial(row, count)) for count in sizes]
