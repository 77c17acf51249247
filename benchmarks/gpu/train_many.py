"""Train one map on several molecules on a GPU within a given time, in large batches.

    PYTHONPATH=. python benchmarks/gpu/train_many.py --systems systems --data data \\
        --molecules ala,ser,thr --seconds 200 --out OUT

``--systems`` and ``--data`` are the folders that `benchmarks/many_molecules.py` makes in its
``WORK``, with ``ace_ala_nme`` in the one and ``ala`` in the other. A batch is of few molecules at a
time, so many of each that they keep the GPU busy, and each has its own CUDA graphs. ``OUT/run`` is
a run folder as ``molflow train`` writes it; ``OUT/training.json`` says what a step took.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402
from record import write_results  # noqa: E402
from train import seconds_of_a_step  # noqa: E402

from molflow.devices import find_device  # noqa: E402
from molflow.files import read_json  # noqa: E402
from molflow.maps.denoiser import recipe_of_many  # noqa: E402
from molflow.training.run import train  # noqa: E402

HERE = Path(__file__).parent


def main() -> None:
    """Train, and print what the last steps said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", type=Path, required=True, help="folder of systems")
    parser.add_argument("--data", type=Path, required=True, help="folder of training sets")
    parser.add_argument("--molecules", required=True, help="residues, such as ala,ser")
    parser.add_argument("--of-each", type=int, default=64, help="copies of a molecule in a batch")
    parser.add_argument("--seconds", type=float, default=200.0, help="of training")
    parser.add_argument("--start", default=None, help="whose weights to start from")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--plain", action="store_true", help="without CUDA graphs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("words", nargs="*", help="KEY=VALUE of the configuration")
    options = parser.parse_intermixed_args()
    recipe_of_many.LEAST = options.of_each
    names = options.molecules.split(",")
    begun = time.monotonic()
    checkpoint = train(
        [options.systems / f"ace_{name}_nme" for name in names],
        [options.data / name for name in names],
        options.out / "run", HERE / "training_many.yaml",
        [f"seconds={options.seconds:g}", *options.words], options.start,
        captured=not options.plain, progress=False, device=options.device,
    )  # fmt: skip
    description = read_json(checkpoint / "model.json")
    record, batch = description["record"], description["configuration"]["batch_size"]
    place = find_device(options.device)
    device = torch.cuda.get_device_name(place) if place.type == "cuda" else str(place)
    print(f"{record['steps']} steps, {record['seconds']} s in epochs, {device}")
    print(f"{time.monotonic() - begun:.0f} s in all")
    results = {
        "captured": not options.plain, "batch": batch, "of_each": options.of_each,
        "molecules": names, "steps": record["steps"], "frames": record["frames"],
    }  # fmt: skip
    results["seconds_of_a_step"] = seconds_of_a_step(record["curves"])
    write_results(options.out / "training.json", {"summary": results}, {"device": device})
    for row in record["curves"][-5:]:
        print({name: round(value, 4) for name, value in row.items()})


if __name__ == "__main__":
    main()
