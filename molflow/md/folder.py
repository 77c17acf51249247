"""The folder of a simulation: its manifest, its parts while running, its files when finished."""

from __future__ import annotations

import json
import platform as python_platform
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import mdtraj
import numpy as np
import openmm

import molflow
from molflow.analysis.flattened import flattened_record
from molflow.errors import MolflowError
from molflow.files import (
    read_arrays,
    read_json,
    replacing,
    sha256_of,
    write_json,
)
from molflow.md.assemble import assemble_replica, flattened_angles
from molflow.md.build import fastest_platform
from molflow.md.energies import potential_energies
from molflow.md.exchange import unpacked
from molflow.md.flattening import names_of
from molflow.md.replica import ReplicaPlan, checkpoint_path, ended_path, segment_path, segments_done
from molflow.md.runner import part_folder
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem


def begin(system, draft: ReplicaPlan, replicas: int, out: Path, platform: str | None) -> dict:
    """Return the folder's manifest if it is of this simulation, or write a new one."""
    plan = {key: value for key, value in asdict(draft).items() if key not in ("seed", "platform")}
    # Through text, because that is how the plan of an older session comes back.
    wanted = json.loads(json.dumps({"plan": plan, "seed": draft.seed, "replicas": replicas}))
    path = out / "simulation.json"
    if path.exists():
        stored = read_json(path)
        differing = [key for key in ("seed", "replicas") if stored.get(key) != wanted[key]]
        differing += [
            key for key, value in wanted["plan"].items() if stored.get("plan", {}).get(key) != value
        ]
        if stored.get("ensemble_hash") != system.ensemble_hash:
            differing.append("ensemble")
        if platform not in (None, stored.get("platform")):
            differing.append("platform")
        if differing:
            raise MolflowError(
                f"'{out}' holds another simulation (different: {', '.join(differing)}): "
                "give the same settings to resume it, or choose another folder."
            )
        return stored
    fastest, speeds = (platform, {}) if platform else fastest_platform(system)
    chosen = replace(draft, platform=fastest)
    for replica in range(replicas):
        _check_parts(system, chosen, part_folder(out, replica))
    topology = mdtraj.Trajectory(system.start_positions(), system.topology())
    with replacing(out / "topology.pdb") as temporary:
        topology.save_pdb(str(temporary))
    manifest = {
        **system.record,
        "temperature": system.temperature,
        "frame_interval_ps": draft.frame_interval,
        **wanted,
        "platform": chosen.platform,
        "platform_steps_per_second": {name: round(speed) for name, speed in speeds.items()},
        "versions": {
            "molflow": molflow.__version__,
            "openmm": openmm.__version__,
            "python": python_platform.python_version(),
        },
        "status": "running",
    }
    write_json(path, manifest)
    return manifest


def replica_plans(draft: ReplicaPlan, manifest: dict) -> list[ReplicaPlan]:
    return [
        replace(
            draft,
            seed=derive_seed(draft.seed, "replica", replica),
            platform=manifest["platform"],
        )
        for replica in range(manifest["replicas"])
    ]


def _check_parts(system: MolecularSystem, plan: ReplicaPlan, folder: Path) -> None:
    """Refuse a part folder without a manifest unless its content can only be of this plan."""
    if not (checkpoint_path(folder)).exists():
        return
    text = unpacked(read_arrays(checkpoint_path(folder)))
    frames = plan.equilibration_frames + min(text["segment"] * plan.segment_frames, plan.frames)
    consistent = (
        len(text["states"]) == len(plan.temperatures)
        and text["segment"] <= plan.segments
        and text["iteration"] == frames * plan.exchanges_per_frame
        and text.get("bias") is None
        and plan.flattening is None
    )
    if consistent and text["segment"]:
        first = read_arrays(segment_path(folder, 0))
        consistent = first["positions"].shape[1:] == system.start_positions().shape
        if consistent:
            found = potential_energies(system, first["positions"][:5], jobs=1)
            # Positions are stored in single precision, which moves energies by about 1e-3.
            consistent = np.allclose(found, first["energies"][:5], atol=0.1)
    if not consistent:
        raise MolflowError(
            f"'{folder}' holds parts of another simulation: choose another folder for this one."
        )


def finish(system, plans: list[ReplicaPlan], out: Path, manifest: dict) -> dict:
    summaries, hashes = [], {}
    plans = [_as_far_as_it_went(plan, part_folder(out, k)) for k, plan in enumerate(plans)]
    flattening = plans[0].flattening
    if flattening is not None:
        hashes["bias.npz"] = sha256_of(out / "bias.npz")
    for replica, plan in enumerate(plans):
        names = f"replica-{replica}.dcd", f"replica-{replica}.npz"
        folder = part_folder(out, replica)
        summaries.append(assemble_replica(system, folder, plan, *(out / name for name in names)))
        hashes |= {name: sha256_of(out / name) for name in names}
    manifest = manifest | {
        "status": "finished",
        "runs": summaries,
        "moved": float(np.mean([summary["moved"] for summary in summaries])),
        "sha256": hashes,
    }
    if flattening is not None:
        manifest["flattened"] = _flattened(system, plans, out)
    write_json(out / "simulation.json", manifest)
    remove_parts(out, len(plans))
    return manifest


def _as_far_as_it_went(plan: ReplicaPlan, folder: Path) -> ReplicaPlan:
    """Return the plan with the frames that a replica has which ended early."""
    if not ended_path(folder).exists():
        return plan
    last = segments_done(read_arrays(checkpoint_path(folder))) - 1
    frames = len(read_arrays(segment_path(folder, last))["energies"])
    return replace(plan, frames=last * plan.segment_frames + frames)


def _flattened(system: MolecularSystem, plans: list[ReplicaPlan], out: Path) -> dict:
    found = [
        flattened_angles(system, part_folder(out, replica), plan)
        for replica, plan in enumerate(plans)
    ]
    angles, log_weights = zip(*found, strict=True)
    plan = plans[0].flattening
    assert plan is not None, "log weights come from a bias"
    names = names_of(system, plan)
    return flattened_record(names, angles, log_weights, plans[0].frame_interval)


def remove_parts(out: Path, replicas: int) -> None:
    for folder in (out / "metadynamics", *(part_folder(out, r) for r in range(replicas))):
        if folder.is_dir():
            shutil.rmtree(folder)
