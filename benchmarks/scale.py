"""What more processes, samples and atoms cost, and what is left of a farm whose parts are killed.

    python benchmarks/scale.py --data DATA --work WORK

DATA is a training set of alanine dipeptide (`molflow prepare`). One thread a process; two processes
need two idle cores. Each part is kept in WORK when it is done, and is not done again; all that is
done goes to ``benchmarks/results/scale.json``:

- ``training`` and ``curves``: training in two processes against one.
- ``farm``: dynamics and labels by two workers of a Dask cluster against one.
- ``kills``: a worker, the scheduler or the client killed at random moments.
- ``memory`` and ``frames``: peak memory of `sample` against n, of `propagate` against saved frames.
- ``large``: 500, 2,000 and 10,000 atoms.
"""

from __future__ import annotations

import csv
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from farms import kills, speed_up
from large import exponents
from record import command_line, environment, once

from molflow.files import read_json, writable_folder, write_json
from molflow.systems import load_system

SYSTEM = "alanine_dipeptide"
#: Epochs of a training; the first warms up, and the median of the others is taken.
EPOCHS, STEPS = 6, 20
BATCH = 64
SAMPLES, CALLS = (10_000, 100_000, 1_000_000), 1
#: Of the network that samples them.
SMALL = {"scalars": 8, "vectors": 4, "heads": 2, "layers": 1, "pair_width": 4}
#: Saved frames of all chains.
FRAMES = (10_240, 102_400)
PARTS = ("training", "curves", "farm", "kills", "memory", "frames", "large")


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


def memory(data: Path, work: Path) -> dict:
    """Peak memory of sampling against the number of conformations, energies and files included.

    Through a small network, whose conformations are worth nothing: what grows with their number
    does not know of it, and what does not grow is less.
    """
    small = work / "small"
    shutil.rmtree(small, ignore_errors=True)
    command(
        "train", SYSTEM, "--data", str(data), "--out", str(small), "--device", "cpu", "--quiet",
        "steps=1", "steps_per_epoch=1", "validate_every=9",
        *(f"network.{name}={size}" for name, size in SMALL.items()),
    )  # fmt: skip
    return _peaks(
        work, SAMPLES,
        lambda n: ["sample", str(small), "-n", str(n), "--steps", str(CALLS), "--jobs", "1"],
    ) | {"network_calls": CALLS, "network": SMALL}  # fmt: skip


def frames(work: Path) -> dict:
    """Peak memory of a propagation against the number of saved frames, of 64 chains in all."""
    start = str(load_system(SYSTEM).structure_path)
    return _peaks(
        work, FRAMES,
        lambda n: ["propagate", f"{SYSTEM}:dynamics", "--start", start, "--lag", "20fs",
                   "--save", "20fs", "--time", f"{20 * n // 64}fs", "--keep-going", "--jobs", "1"],
    )  # fmt: skip


def _peaks(work: Path, sizes: tuple[int, ...], words: Callable[[int], list[str]]) -> dict:

    def peak(n: int) -> dict:
        out = work / f"memory-{n}"
        shutil.rmtree(out, ignore_errors=True)
        most, seconds = command(
            *words(n), "--quiet", "--device", "cpu", "--out", str(out / "a.dcd")
        )
        shutil.rmtree(out)
        return {"peak_bytes": most, "seconds": seconds}

    rows = {str(n): once(work / f"memory-{n}.json", partial(peak, n)) for n in sizes}
    first, last = (rows[str(n)]["peak_bytes"] for n in (sizes[0], sizes[-1]))
    return {"n": rows, "ratio": last / first}


def main() -> None:
    """Run the parts that are not done yet."""
    parser = command_line(__doc__, work=None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=PARTS)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of kills")
    options = parser.parse_args()
    writable_folder(options.work)
    makers: dict[str, Callable[[], dict]] = {
        "training": lambda: together(options.data, options.work),
        "curves": lambda: curves(options.data, options.work),
        "farm": lambda: speed_up(options.work / "farm"),
        "kills": lambda: kills(options.work / "kills", options.seed),
        "memory": lambda: memory(options.data, options.work),
        "frames": lambda: frames(options.work),
        "large": lambda: exponents(options.work / "large"),
    }
    found = {}
    for name in PARTS:
        path = options.work / f"{name}.json"
        if not path.exists() and name in (options.only or PARTS):
            write_json(path, makers[name]())
        if path.exists():
            found[name] = read_json(path)
    paths = {
        "ddp_efficiency": ("training", "efficiency"),
        "loss_apart": ("curves", "largest_relative_difference"),
        "farm_speedup": ("farm", "speed_up"),
        "kills": ("kills", "counted"),
        "memory_ratio": ("memory", "ratio"),
        "memory_ratio_of_frames": ("frames", "ratio"),
        "exponents": ("large", "exponents"),
    }
    summary = {name: found[part][key] for name, (part, key) in paths.items() if part in found}
    sizes = {"batch": BATCH, "steps": STEPS, "epochs": EPOCHS}
    write_json(options.out / "scale.json", {"summary": summary, **found, **sizes, **environment()})
    print(summary)


if __name__ == "__main__":
    main()
