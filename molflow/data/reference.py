"""From a simulation to the reference that ensembles are compared with."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from molflow.analysis.reference import Reference
from molflow.analysis.torsion_list import measure_torsions, torsion_list
from molflow.data.simulation import open_simulation
from molflow.data.split import split_runs
from molflow.errors import MolflowError
from molflow.files import read_json

_TAKEN_APART = ("system", "ensemble", "ensemble_hash", "temperature", "frame_interval_ps")


def reference_from_simulation(
    folder: str | Path,
    thin: int = 10,
    held_out: Sequence[int] | None = None,
    metadynamics: str | Path | None = None,
) -> Reference:
    """Return the reference made of all runs of a finished simulation.

    Parameters
    ----------
    folder : str or Path
        That `simulate` finished.
    thin : int
        Positions of every `thin`-th frame of each run are kept; torsions and energies of all.
    held_out : sequence of int, optional
        Runs that no model is trained or validated on; by default those that `prepare` holds out.
    metadynamics : str or Path, optional
        Folder or ``metadynamics.json`` of metadynamics, whose free energy of alpha-L is stored.

    Raises
    ------
    MolflowError
        If the simulation is unfinished or damaged, an argument does not fit it, or the
        metadynamics is unfinished or of another ensemble.
    """
    source = open_simulation(folder)
    if isinstance(thin, bool) or not isinstance(thin, int) or thin < 1:
        raise MolflowError(f"thin is {thin!r}: give a whole number of frames, 1 or more.")
    if held_out is None:
        held_out = split_runs(len(source.runs)).held_out
    if not set(held_out) <= set(source.runs) or not len(held_out):
        raise MolflowError(
            f"held_out is {list(held_out)}: name at least one of the runs {source.runs}."
        )
    found = torsion_list(source.topology)
    torsions, energies, replica, positions, chosen, weights = [], [], [], [], [], []
    start = 0
    for run in source.runs:
        frames = source.trajectory(run)
        torsions.append(measure_torsions(frames.xyz, found))
        arrays = source.arrays(run)
        energies.append(arrays["energies"])
        if "log_weights" in arrays:
            weights.append(arrays["log_weights"])
        replica.append(np.full(frames.n_frames, run))
        positions.append(frames.xyz[::thin])
        chosen.append(start + np.arange(0, frames.n_frames, thin))
        start += frames.n_frames
    if weights and len(weights) < len(source.runs):
        raise MolflowError(
            f"{len(weights)} of {len(source.runs)} runs in '{folder}' have weights: all of them "
            "need log_weights, up to one common constant, or none."
        )
    manifest = source.manifest
    kept = {key: value for key, value in manifest.items() if key not in _TAKEN_APART}
    return Reference(
        topology=source.topology,
        torsions=np.concatenate(torsions),
        energies=np.concatenate(energies),
        replica=np.concatenate(replica).astype(np.int16),
        positions=np.concatenate(positions).astype(np.float32),
        position_frame=np.concatenate(chosen).astype(np.int32),
        **{key: manifest[key] for key in _TAKEN_APART},
        torsion_names=tuple(torsion.name for torsion in found),
        held_out_runs=tuple(sorted(int(run) for run in held_out)),
        provenance={"simulation": kept, "thin": thin},
        delta_f_alpha_l=None if metadynamics is None else _free_energy(metadynamics, manifest),
        log_weights=np.concatenate(weights).astype(np.float64) if weights else None,
    )


def _free_energy(path: str | Path, manifest: dict) -> dict:
    path = Path(path)
    text = read_json(path / "metadynamics.json" if path.is_dir() else path)
    if text.get("ensemble_hash") != manifest["ensemble_hash"]:
        raise MolflowError(
            f"'{path}' is metadynamics of another ensemble than the simulation."
        )
    if "delta_f_alpha_l" not in text:
        raise MolflowError(f"the metadynamics in '{path}' is not finished: run it again.")
    result = text["delta_f_alpha_l"]
    return {
        "method": "well-tempered metadynamics in phi and psi",
        "value": result["value"],
        "error": result["error"],
        "interval": result["interval"],
        "by_run": result["by_run"],
        "plan": text["plan"],
    }


def main(arguments: list[str] | None = None) -> None:
    """Run ``python -m molflow.data.reference SIMULATION --out FOLDER``."""
    parser = argparse.ArgumentParser(prog="molflow.data.reference", description=__doc__)
    parser.add_argument("simulation", help="folder of a finished simulation")
    parser.add_argument("--out", required=True, help="folder of the reference")
    parser.add_argument(
        "--thin", type=int, default=10, help="keep positions of every THIN-th frame"
    )
    parser.add_argument("--held-out", help="runs for scoring, for example 4,5")
    parser.add_argument("--metadynamics", help="folder of metadynamics")
    options = parser.parse_args(arguments)
    try:
        held_out = [int(run) for run in options.held_out.split(",")] if options.held_out else None
    except ValueError:
        parser.error(f"--held-out is '{options.held_out}': write run numbers such as 4,5")
    reference = reference_from_simulation(
        options.simulation, options.thin, held_out, options.metadynamics
    )
    reference.save(options.out)
    print(f"reference of {len(reference.torsions)} frames in {options.out}")


if __name__ == "__main__":
    main()
