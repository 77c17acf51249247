"""Train a shipped map on a GPU within a given time, that of alanine dipeptide if no other is named.

    PYTHONPATH=. python benchmarks/gpu/train.py --data DATA --seconds 500 --out OUT

``DATA`` is a training set, say of a run under a bias: ``molflow simulate alanine_dipeptide
--flatten phi,psi`` and ``molflow prepare``. ``OUT/run`` is a run folder as ``molflow train``
writes it: its checkpoint, and the state from which the same call goes on with more ``--seconds``;
``OUT/training.json`` says what a step took.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402
from record import write_results  # noqa: E402

from molflow.devices import find_device  # noqa: E402
from molflow.files import read_json  # noqa: E402
from molflow.training.run import train  # noqa: E402

HERE = Path(__file__).parent


def seconds_of_a_step(curves: list[dict]) -> float:
    """Return the median over epochs, but for the first, in which kernels are made ready."""
    ends = [0, *(row["step"] for row in curves)]
    each = [
        row["seconds"] / (end - begin)
        for row, begin, end in zip(curves, ends, ends[1:], strict=False)
        if end > begin
    ]
    return median(each[1:] or each)


def report(checkpoint: Path, options: argparse.Namespace, begun: float, **more) -> list[dict]:
    """Print and write what the steps of a training took, with `more`; return its curves."""
    description = read_json(checkpoint / "model.json")
    record, batch = description["record"], description["configuration"]["batch_size"]
    place = find_device(options.device)
    device = torch.cuda.get_device_name(place) if place.type == "cuda" else str(place)
    print(f"{record['steps']} steps, {record['seconds']} s in epochs, {device}")
    print(f"{time.monotonic() - begun:.0f} s in all")
    results = {"captured": not options.plain, "batch": batch, "steps": record["steps"]} | more
    results["seconds_of_a_step"] = seconds_of_a_step(record["curves"])
    write_results(options.out / "training.json", {"summary": results}, {"device": device})
    return record["curves"]


def main() -> None:
    """Train, and print what the last validation said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a training set")
    parser.add_argument("--seconds", type=float, default=500.0, help="of training")
    parser.add_argument("--system", default="alanine_dipeptide")
    parser.add_argument("--config", type=Path, default=HERE / "training.yaml")
    parser.add_argument("--start", default="alanine_dipeptide", help="whose weights to start from")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--plain", action="store_true", help="without CUDA graphs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("words", nargs="*", help="KEY=VALUE of the configuration")
    options = parser.parse_intermixed_args()
    begun = time.monotonic()
    checkpoint = train(
        options.system, options.data, options.out / "run", options.config,
        [f"seconds={options.seconds:g}", *options.words], options.start,
        captured=not options.plain, progress=False, device=options.device,
    )  # fmt: skip
    for row in report(checkpoint, options, begun):
        print({name: round(value, 4) for name, value in row.items()})


if __name__ == "__main__":
    main()
