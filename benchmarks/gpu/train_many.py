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

from train import report  # noqa: E402

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
    frames = read_json(checkpoint / "model.json")["record"]["frames"]
    more = {"of_each": options.of_each, "molecules": names, "frames": frames}
    for row in report(checkpoint, options, begun, **more)[-5:]:
        print({name: round(value, 4) for name, value in row.items()})


if __name__ == "__main__":
    main()
