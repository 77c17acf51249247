"""What more processes and more samples cost: training in two processes, memory against samples.

    python benchmarks/scale.py --data DATA --work WORK

DATA is a training set of alanine dipeptide (`molflow prepare`). All runs are runs of the command
line, one thread a process; two processes need two idle cores. Each part is kept in WORK when it is
done, and is not done again; all that is done goes to ``benchmarks/results/scale.json``.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from record import environment

from molflow.files import read_json, writable_folder, write_json

HERE = Path(__file__).parent
SYSTEM = "alanine_dipeptide"
#: Epochs of a training; the first warms up, and the median of the others is taken.
EPOCHS, STEPS = 6, 20
BATCH = 64
SAMPLES, CALLS = (10_000, 30_000, 100_000), 1


def command(*words: str) -> tuple[int, float]:
    """Run a verb with one thread a process.

    Returns
    -------
    memory : int
        Peak of the resident memory of its largest process, bytes.
    seconds : float
        Processor time of all its processes.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "molflow.cli", *words], env=os.environ | threads
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"molflow {' '.join(words)} ended with {process.returncode}")
    return used.ru_maxrss * 1024, used.ru_utime + used.ru_stime


def epochs(
    data: Path, out: Path, devices: int, batch: int = BATCH, seed: int = 0
) -> dict[str, list[float]]:
    """Return the wall seconds and the loss of every epoch of a short training."""
    shutil.rmtree(out, ignore_errors=True)
    command(
        "train", SYSTEM, "--data", str(data), "--out", str(out), "--device", "cpu", "--quiet",
        "--devices", str(devices), f"steps={EPOCHS * STEPS}", f"steps_per_epoch={STEPS}",
        f"batch_size={batch}", "validate_every=1000", "learning_rate_decay=10", f"seed={seed}",
    )  # fmt: skip
    with open(out / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in ("seconds", "loss/weighted")}


def together(data: Path, work: Path) -> dict:
    """Weak scaling: each of two processes has as large batches as one alone. They take turns."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(2):
        for devices, found in seconds.items():
            found += epochs(data, work / f"train-{devices}", devices)["seconds"][1:]
    middle = {devices: statistics.median(found) for devices, found in seconds.items()}
    return {
        "seconds_an_epoch": {str(devices): found for devices, found in seconds.items()},
        "samples_a_second": {
            str(devices): devices * STEPS * BATCH / value for devices, value in middle.items()
        },
        "efficiency": middle[1] / middle[2],
    }


def curves(data: Path, work: Path) -> dict:
    """Return losses by epoch of two processes, and of one whose batches are as large as both.

    The first two draw different batches from one seed, so that they differ as two seeds of one
    process do, which are the yardstick.
    """
    out = work / "train-curves"
    found = {
        "two processes": epochs(data, out, 2)["loss/weighted"],
        "one": epochs(data, out, 1, 2 * BATCH)["loss/weighted"],
        "one, another seed": epochs(data, out, 1, 2 * BATCH, seed=1)["loss/weighted"],
    }
    apart = {
        name: max(abs(a / b - 1) for a, b in zip(found[name], found["one"], strict=True))
        for name in ("two processes", "one, another seed")
    }
    return {"losses": found, "largest_relative_difference": apart}


def memory(work: Path) -> dict:
    """Peak memory of sampling against the number of conformations."""
    rows = {}
    for n in SAMPLES:
        out = work / f"ensemble-{n}"
        shutil.rmtree(out, ignore_errors=True)
        peak, seconds = command(
            "sample", SYSTEM, "-n", str(n), "--steps", str(CALLS), "--quiet", "--device", "cpu",
            "--out", str(out / "ensemble.dcd"),
        )  # fmt: skip
        rows[str(n)] = {"peak_bytes": peak, "seconds": seconds}
        shutil.rmtree(out)
    first, last = (rows[str(n)]["peak_bytes"] for n in (SAMPLES[0], SAMPLES[-1]))
    return {"network_calls": CALLS, "n": rows, "ratio": last / first}


def main() -> None:
    """Run the parts that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=("training", "curves", "memory"))
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    writable_folder(options.work)
    writable_folder(options.out)
    parts: dict[str, Callable[[], dict]] = {
        "training": lambda: together(options.data, options.work),
        "curves": lambda: curves(options.data, options.work),
        "memory": lambda: memory(options.work),
    }
    found = {}
    for name, make in parts.items():
        path = options.work / f"{name}.json"
        if not path.exists() and name in (options.only or parts):
            write_json(path, make())
        if path.exists():
            found[name] = read_json(path)
    summary = {}
    if "training" in found:
        summary["ddp_efficiency"] = found["training"]["efficiency"]
    if "curves" in found:
        summary["loss_apart"] = found["curves"]["largest_relative_difference"]["two processes"]
    if "memory" in found:
        summary["memory_ratio"] = found["memory"]["ratio"]
    sizes = {"batch": BATCH, "steps": STEPS, "epochs": EPOCHS, "samples": SAMPLES}
    write_json(options.out / "scale.json", {"summary": summary, **found, **sizes, **environment()})
    print(summary)


if __name__ == "__main__":
    main()
