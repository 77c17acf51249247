"""Conformations of a trained map at many numbers of network calls, with their time and memory.

    PYTHONPATH=. python benchmarks/gpu/sampling_counts.py --checkpoint RUN/checkpoint --out OUT

Writes ``OUT/samples.npz`` (positions in nm, one array for each number of calls) and
``OUT/sampling.json`` after each number, and begins none that the time would not be enough for.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from molflow.devices import find_device
from molflow.files import write_arrays, write_json
from molflow.maps.denoiser.draw import BLOCK, draw_blocks
from molflow.training.checkpoint import load_checkpoint

#: Those that will be wanted most come first.
CALLS = (8, 4, 2, 1, 16, 32, 64, 100)


def drawn(given, calls: int, n: int, at_once: int, device) -> tuple[np.ndarray, dict]:
    """Return conformations in nm, and what they took."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    begun, parts = time.monotonic(), []
    with torch.no_grad():
        for first in range(0, n // BLOCK, at_once):
            blocks = range(first, min(first + at_once, n // BLOCK))
            x = draw_blocks(given.flow_map, blocks, calls, 0, given.n_atoms)
            parts.append((given.scale * x).cpu().numpy())
    told = {"n": n, "seconds_a_sample": (time.monotonic() - begun) / n}
    if device.type == "cuda":
        batch = BLOCK * min(at_once, n // BLOCK)
        told["peak_bytes_a_sample"] = torch.cuda.max_memory_allocated(device) / batch
    return np.concatenate(parts).astype(np.float32), told


def main() -> None:
    """Draw, as long as there is time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--n", type=int, default=512, help="samples, whole blocks of 64")
    parser.add_argument("--at-once", type=int, default=4, help="blocks")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    device = find_device(options.device)
    given = load_checkpoint(options.checkpoint, device)
    options.out.mkdir(parents=True, exist_ok=True)
    drawn(given, 1, BLOCK, 1, device)  # makes the device ready
    samples: dict = {}
    told: dict = {"device": str(device), "calls": {}}
    if device.type == "cuda":
        told["device"] = torch.cuda.get_device_name(device)
    a_call = 0.0
    for calls in CALLS:
        left = end - time.monotonic()
        n = options.n
        while n > BLOCK and 1.2 * a_call * calls * n > left:
            n = max(BLOCK, n // 2 // BLOCK * BLOCK)
        if 1.2 * a_call * calls * n > left:
            continue
        xyz, row = drawn(given, calls, n, options.at_once, device)
        a_call = row["seconds_a_sample"] / calls
        samples[f"calls_{calls}"], told["calls"][str(calls)] = xyz, row
        print(calls, row, flush=True)
        write_arrays(options.out / "samples.npz", **samples)
        write_json(options.out / "sampling.json", told)


if __name__ == "__main__":
    main()
