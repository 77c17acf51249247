"""The same work from two checkouts of the project, compared bit by bit.

    python benchmarks/identical.py OLD NEW

OLD and NEW are folders of checkouts, such as ``git worktree add`` makes. Each of them draws a few
samples from every shipped checkpoint, propagates the shipped map of dynamics with and without
residual noise, and trains every kind of map for ten steps, on one small training set that OLD
makes. A change that moves code must change no bit of the results. Training sets and results stay in
--work; with ``--only NAME`` the parts whose name contains it are done alone.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

NETWORK = [
    "network.scalars=16", "network.vectors=8", "network.heads=2", "network.layers=1",
    "network.pair_width=8",
]  # fmt: skip
ALL = [
    "steps=10", "steps_per_epoch=5", "batch_size=16", "objective.local_steps=4",
    "learning_rate_warmup=2", "learning_rate_decay=3", "validate_every=1",
]  # fmt: skip
DENOISER = [*ALL, "validation_samples=64"]
DYNAMICS = [
    *ALL, *NETWORK, "map.order=14", "map.longest_lag=0.04", "objective.rollouts=8",
    "objective.anchor=[0.0005, 0.002]", "objective.rollout_length=3",
    "objective.validation_steps=4", "validation_samples=16",
]  # fmt: skip
PLAIN = [*DYNAMICS, "map.kind=langevin", "map.bonded=false"]
SPARSE = ["network.kind=sparse", "network.scalars=16", "network.vectors=8", "network.layers=1"]
#: Trainings, by what differs in them.
TRAININGS = {
    "denoiser": [*DENOISER, *NETWORK],
    "probability_flow": [*DENOISER, *NETWORK, "map.eta=0"],
    "sparse": [*DENOISER, *SPARSE],
    "tensor_product": [*DENOISER, "network.kind=tensor_product", "network.layers=1"],
    "langevin": PLAIN,
    "langevin_frictions": [*PLAIN, "objective.frictions=[0.5, 2]"],
    "langevin_mean_flow": [*PLAIN, "objective.mean_flow_share=0.5"],
    "langevin_direct": [*PLAIN, "objective.direct_share=0.4"],
    "langevin_bonded": [*DYNAMICS, "map.kind=langevin"],
    "overdamped": [*DYNAMICS, "map.kind=overdamped"],
}
SYSTEM = "alanine_dipeptide"


def make_data(folder: Path) -> None:
    """Simulate a little and make a training set with forces and paths."""
    from molflow.cli import main

    md, data = folder / "md", folder / "data"
    frames = ["--equilibration", "0.5ps", "--frame-interval", "0.05ps"]
    simulate = ["simulate", SYSTEM, "--time", "2ps", "--replicas", "2", "--out", md, *frames]
    prepare = ["prepare", md, "--out", data, "--train", "0", "--validation", "1"]
    paths = ["--forces", "--paths", "64", "--frictions", "0.5/ps,2/ps"]
    for words in ([*simulate, "--jobs", "1"], [*prepare, *paths]):
        sys.argv = ["molflow", *map(str, words)]
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise


def sampled(name: str, data: Path, work: Path) -> dict[str, np.ndarray]:
    """Return samples of a shipped checkpoint at several numbers of steps."""
    import molflow

    return {
        f"{steps} steps": molflow.sample(name, steps=steps, n=70, path_seed=3, progress=False).xyz
        for steps in (1, 3)
    }


def propagated(residual_noise: bool, data: Path, work: Path) -> dict[str, np.ndarray]:
    """Return frames and velocities of a short propagation of the shipped map of dynamics."""
    import molflow

    checkpoint = molflow.load_system(SYSTEM).folder / "checkpoint-dynamics"
    molflow.propagate(
        checkpoint, data.parent / "md" / "topology.pdb", "0.2ps", "20fs", work / "traj.h5",
        chains=3, save="0.04ps", path_seed=5, residual_noise=residual_noise, energies=False,
        progress=False,
    )  # fmt: skip
    with np.load(work / "traj.npz") as arrays:
        velocities = arrays["velocities"]
    import mdtraj

    return {"positions": mdtraj.load(str(work / "traj.h5")).xyz, "velocities": velocities}


def trained(words: list[str], data: Path, work: Path) -> dict[str, np.ndarray]:
    """Return weights and losses of ten steps, and the residual noise where there is one."""
    from safetensors.numpy import load_file

    import molflow

    none = work / "none.yaml"
    none.write_text("{}\n", encoding="utf-8")
    checkpoint = molflow.train(SYSTEM, data, work / "run", none, words, progress=False)
    found = {}
    for path in sorted(checkpoint.glob("*.safetensors")):
        found |= {f"{path.stem} {name}": value for name, value in load_file(path).items()}
    with (work / "run" / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted(name for name in rows[0] if name.startswith("loss/"))
    return found | {"metrics": np.array([[row[name] for name in names] for row in rows])}


PARTS: dict[str, Callable[[Path, Path], dict[str, np.ndarray]]] = {
    **{f"sample {name}": partial(sampled, name) for name in (SYSTEM, f"{SYSTEM}:beads5")},
    "propagate": partial(propagated, False),
    "propagate residual noise": partial(propagated, True),
    **{f"train {name}": partial(trained, words) for name, words in TRAININGS.items()},
}


def run_part(checkout: Path, words: list) -> None:
    """Run this file with the package of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} with {checkout} failed:\n{done.stderr[-3000:]}")


def differences(old: Path, new: Path) -> list[str]:
    """Return what differs between two files of arrays."""
    with np.load(old) as one, np.load(new) as two:
        lost = sorted(set(one.files) ^ set(two.files))
        return lost + [
            name
            for name in one.files
            if name in two.files
            and (one[name].dtype, one[name].tobytes()) != (two[name].dtype, two[name].tobytes())
        ]


def main() -> int:
    """Compare two checkouts; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="OLD NEW")
    parser.add_argument("--work", type=Path, default=Path("runs/identical"))
    parser.add_argument("--only", default="")
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.data:
        make_data(options.data)
        return 0
    work = options.work.resolve()
    if options.part:
        name, out = options.part
        folder = Path(out).with_suffix("")
        folder.mkdir(parents=True)
        np.savez(out, **PARTS[name](work / "made" / "data", folder))
        return 0
    old, new = (folder.resolve() for folder in options.checkouts)
    if not (work / "made" / "done").exists():
        (work / "made").mkdir(parents=True, exist_ok=True)
        run_part(old, ["--data", work / "made"])
        (work / "made" / "done").touch()
    different = 0
    for name in (name for name in PARTS if options.only in name):
        files = []
        for checkout in (old, new):
            commit = subprocess.run(
                ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True
            ).stdout.strip()
            file = work / (commit if checkout == old else "new") / f"{name.replace(' ', '-')}.npz"
            if checkout == new or not file.exists():
                subprocess.run(["rm", "-rf", str(file), str(file.with_suffix(""))], check=True)
                run_part(checkout, ["--work", work, "--part", name, file])
            files.append(file)
        found = differences(*files)
        with np.load(files[0]) as arrays:
            count = sum(value.size for value in arrays.values())
        said = f"{len(found)} arrays differ, {found[0]}" if found else f"{count:,} numbers alike"
        print(f"{name}: {said}", flush=True)
        different += bool(found)
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
