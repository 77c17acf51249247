"""What a GPU makes of sampling, training, propagation and large molecules.

    PYTHONPATH=. python benchmarks/gpu/figures.py --seconds 75 --out OUT

Parts are processes of their own, which have the device and the processor in turn, each for its
share of the time. Those that compile (``--parts sampling-tf32``, say) come after the others and
beside each other, as compilers take long. What has been measured stands in ``OUT/gpu.json``, which
is written again whenever there is more. With ``--quick`` all parts run in this process at small
sizes: a rehearsal for a machine without a GPU.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402
from arithmetic import PRECISIONS  # noqa: E402
from drawing import compiled_drawing, drawing  # noqa: E402
from growing import growing  # noqa: E402
from learning import compiled_learning, learning  # noqa: E402
from notes import Notes  # noqa: E402
from record import markdown, write_results  # noqa: E402
from walking import compiled_walking, walking  # noqa: E402

from molflow.files import read_json  # noqa: E402

SIZES = {
    "calls": [1, 2, 4, 8], "batches": [64, 256, 1024, 4096], "some_batches": [1024, 4096],
    "training_batches": [64, 256, 1024, 2048], "epoch": 40, "chains": [1, 256, 4096],
    "atoms": [500, 2000, 10_000],
}  # fmt: skip
QUICK = {
    "calls": [1, 4], "batches": [64], "some_batches": [64], "training_batches": [4, 8],
    "epoch": 1, "chains": [1, 3], "atoms": [30, 60],
}  # fmt: skip
#: Parts in turn, and their shares of the time.
IN_TURN = {
    "sampling": (drawing, 0.2),
    "training": (learning, 0.35),
    "propagation": (walking, 0.15),
    "large": (growing, 0.3),
}
PARTS = {
    **{name: part for name, (part, _) in IN_TURN.items()},
    **{f"sampling-{name}": partial(compiled_drawing, name=name) for name in PRECISIONS},
    **{f"training-{name}": partial(compiled_learning, name=name) for name in PRECISIONS},
    "propagation-float32": partial(compiled_walking, name="float32"),
}


def run_all(options: argparse.Namespace, work: Path) -> dict[str, str]:
    """Run parts in processes of their own until all are done or the time is over.

    Returns how those ended that were not done.
    """
    ends: dict[str, str] = {}
    until = time.time() + options.seconds
    turns = [name for name in options.parts if name in IN_TURN]
    for names in (turns, [name for name in options.parts if name not in turns]):
        _run(names, options, work, until, ends)
    return ends


def _run(
    names: list[str], options: argparse.Namespace, work: Path, until: float, ends: dict[str, str]
) -> None:
    """Begin parts together, so that they import modules beside each other."""
    # What deterministic products of matrices need, and no more threads than there are cores.
    own = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "OMP_NUM_THREADS": "2"}
    own["TORCHINDUCTOR_COMPILE_THREADS"] = "2"
    shares = sum(IN_TURN[name][1] for name in names if name in IN_TURN)
    running = {}
    for name in names:
        if time.time() > until:
            ends[name] = "left out: the time was over"
            continue
        share = IN_TURN[name][1] / shares if name in IN_TURN else 1.0
        words = [
            "--device", options.device, "--work", work, "--until", until, "--part", name,
            "--seconds", share * (until - time.time()),
        ]  # fmt: skip
        running[name] = subprocess.Popen(
            [sys.executable, __file__, *map(str, words)], env=os.environ | own
        )
    try:
        while running:
            time.sleep(0.5)
            over = time.time() > until + 2.0
            for name, process in list(running.items()):
                if over and process.poll() is None:
                    process.kill()
                    process.wait()
                    ends[name] = f"ended after {options.seconds:g} s, before it was done"
                if process.poll() is not None:
                    del running[name]
                    if process.returncode and name not in ends:
                        ends[name] = f"ended with {process.returncode}"
            write(options, work, ends)
    finally:
        for process in running.values():
            process.kill()


def run_part(options: argparse.Namespace) -> None:
    """Be the process of one part."""
    name, path = options.part, options.work / f"{options.part}.json"
    notes = Notes(path, options.device, options.until)
    if name not in IN_TURN:
        PARTS[name](notes, SIZES)
        return
    with notes.alone():
        notes.until = min(options.until, time.time() + options.seconds)
        PARTS[name](notes, SIZES)


def write(options: argparse.Namespace, work: Path, ends: dict[str, str]) -> dict:
    """Write what there is, and return it."""
    found = {name: read_json(work / f"{name}.json") for name in PARTS if there(work, name)}
    device = torch.device(options.device)
    machine = {"device": options.device, "precision": "as named"}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine |= {
            "device": properties.name, "device_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
        }  # fmt: skip
    results = {
        "summary": found, "ended": ends, "sizes": QUICK if options.quick else SIZES, "seed": 0,
        "seconds": options.seconds,
    }  # fmt: skip
    versions = {"e3nn": version("e3nn"), "cuda": torch.version.cuda or "none"}
    write_results(options.out / "gpu.json", results, machine, **versions)
    return results


def there(work: Path, name: str) -> bool:
    """Return whether a part has measured anything."""
    return (work / f"{name}.json").exists()


def table(results: dict) -> str:
    """Return what was measured, a line each."""
    columns = {
        "a second": ("a_second", "molecules_a_second"),
        "walks a second": ("a_second_of_walks",),
        "ms": ("seconds_of_a_step", "seconds"),
        "ns a day": ("ns_a_day",),
        "GiB": ("peak_bytes", "bytes"),
        "rms, nm": ("rms_nm",),
        "first, s": ("seconds_of_the_first",),
    }
    scale, empty = {"ms": 1e3, "GiB": 2.0**-30}, [""] * (len(columns) - 1)
    rows = []
    for part, measured in results["summary"].items():
        for name, row in measured.items():
            if name.endswith("exponents") or "failed" in row:
                words = row.get("failed") or ", ".join(f"{k} {v:.2f}" for k, v in row.items())
                rows.append([part, name, words, *empty])
                continue
            found = []
            for head, keys in columns.items():
                value = next((row[key] for key in keys if row.get(key) is not None), None)
                found.append("" if value is None else f"{value * scale.get(head, 1.0):.4g}")
            rows.append([part, name, *found])
    rows += [[part, "", words, *empty] for part, words in results["ended"].items()]
    return markdown(["part", "what", *columns], rows)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=75.0, help="of wall-clock time in all")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(IN_TURN))
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of gpu.json")
    parser.add_argument("--quick", action="store_true", help="small sizes, in one process")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        run_part(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        work, ends = Path(folder), {}
        if options.quick:
            for name in options.parts:
                path, until = work / f"{name}.json", time.time() + options.seconds
                notes = Notes(path, options.device, until, rounds=(1, 1))
                PARTS[name](notes, QUICK)
        else:
            ends = run_all(options, work)
        print(table(write(options, work, ends)))


if __name__ == "__main__":
    main()
