"""`molflow demo`: the built-in molecule from the shipped checkpoint, judged against MD."""

from __future__ import annotations

import time
from pathlib import Path

from molflow.comparison import compare, format_table
from molflow.files import writable_folder
from molflow.sampling.ensemble import sample

SYSTEM = "alanine_dipeptide"


def demo(
    out: str | Path = "outputs/demo",
    n: int = 10000,
    steps: int = 4,
    path_seed: int = 0,
    progress: bool = True,
) -> dict:
    """Sample alanine dipeptide and compare it with the held-out reference MD.

    Parameters
    ----------
    out : path
        Folder for ``ensemble.dcd``, ``topology.pdb``, ``metrics.json`` and ``report.html``.
    n : int
        Conformations.
    steps : int
        Network calls per conformation.
    path_seed : int
        Seed of the Brownian paths.
    progress : bool
        Whether to show progress.

    Returns
    -------
    dict
        What `molflow.compare` returns.
    """
    out = writable_folder(out)
    ensemble = out / "ensemble.dcd"
    start = time.perf_counter()
    sample(SYSTEM, steps=steps, n=n, out=ensemble, path_seed=path_seed, progress=progress)
    sampled = time.perf_counter()
    result = compare(ensemble, SYSTEM, out=out / "report.html")
    compared = time.perf_counter()
    print(format_table(result))
    print(
        f"{n} conformations of {SYSTEM} in {steps} network calls each: "
        f"{sampled - start:.0f} s. Comparison with MD: {compared - sampled:.0f} s.\n"
        f"Open {out / 'report.html'} in a browser; the conformations are in {ensemble}."
    )
    return result
