"""From a simulation to the reference that ensembles are compared with."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from molflow.analysis.molecule.stiff_bonds import isomer_torsions, kept_torsions
from molflow.analysis.reference import Reference
from molflow.analysis.torsion_list import measure_torsions, torsion_list
from molflow.data.simulation import SimulationFolder, open_simulation
from molflow.data.split import split_runs
from molflow.errors import MolflowError

#: Every how many frames positions are kept at most, and how many should be left to score against.
_THIN, _POSITIONS = 10, 500
_TAKEN_APART = ("system", "ensemble", "ensemble_hash", "temperature", "frame_interval_ps")


def reference_from_simulation(
    folder: str | Path,
    thin: int | None = None,
    held_out: Sequence[int] | None = None,
    flattened: str | Path | None = None,
) -> Reference:
    """Return the reference made of all runs of a finished simulation.

    Parameters
    ----------
    folder : str or Path
        That `simulate` finished.
    thin : int, optional
        Positions of every `thin`-th frame of each run are kept; torsions and energies of all. By
        default 10, or fewer where that leaves less than 500 of the runs that are held out.
    held_out : sequence of int, optional
        Runs that no model is trained or validated on; by default those that `prepare` holds out, of
        fewer than three none.
    flattened : str or Path, optional
        Folder of a simulation under a bias in phi and psi, whose free energy of alpha-L is stored
        beside that of the frames. By default that of the simulation itself, if it has a bias.

    Raises
    ------
    MolflowError
        If a simulation is unfinished or damaged, an argument does not fit it, or the one under a
        bias is of another ensemble or knows no free energy of alpha-L.
    """
    source = open_simulation(folder)
    if thin is not None and (isinstance(thin, bool) or not isinstance(thin, int) or thin < 1):
        raise MolflowError(f"thin is {thin!r}: give a whole number of frames, 1 or more.")
    if held_out is None:  # of fewer runs none can be held out, and all are scored against
        held_out = split_runs(len(source.runs)).held_out if len(source.runs) > 2 else ()
    elif not set(held_out) <= set(source.runs) or not len(held_out):
        raise MolflowError(
            f"held_out is {list(held_out)}: name at least one of the runs {source.runs}."
        )
    if thin is None:
        scored = [len(source.arrays(run)["times"]) for run in held_out or source.runs]
        thin = max(1, min(_THIN, sum(scored) // _POSITIONS))
    found = torsion_list(source.topology) + isomer_torsions(source.topology)
    torsions, energies, replica, positions, chosen, log_weights = [], [], [], [], [], []
    start = 0
    for run in source.runs:
        frames = source.trajectory(run)
        torsions.append(measure_torsions(frames.xyz, found))
        arrays = source.arrays(run)
        if "energies" in arrays:  # frames that were made elsewhere may have none
            energies.append(arrays["energies"])
        if source.weighted:
            log_weights.append(arrays["log_weights"])
        replica.append(np.full(frames.n_frames, run))
        positions.append(frames.xyz[::thin])
        chosen.append(start + np.arange(0, frames.n_frames, thin))
        start += frames.n_frames
    manifest = source.manifest
    names, angles = kept_torsions(found, np.concatenate(torsions))
    kept = {key: value for key, value in manifest.items() if key not in _TAKEN_APART}
    return Reference(
        topology=source.topology,
        torsions=angles,
        energies=np.concatenate(energies) if energies else None,
        replica=np.concatenate(replica).astype(np.int16),
        positions=np.concatenate(positions).astype(np.float32),
        position_frame=np.concatenate(chosen).astype(np.int32),
        **{key: manifest[key] for key in _TAKEN_APART},
        torsion_names=names,
        held_out_runs=tuple(sorted(int(run) for run in held_out)),
        provenance={"simulation": kept, "thin": thin},
        delta_f_alpha_l=_free_energy(source, flattened),
        log_weights=np.concatenate(log_weights) if log_weights else None,
    )


def _free_energy(source: SimulationFolder, flattened: str | Path | None) -> dict | None:
    if flattened is None and not source.weighted:
        return None
    biased = source if flattened is None else open_simulation(flattened)
    if biased.manifest["ensemble_hash"] != source.manifest["ensemble_hash"]:
        raise MolflowError(
            f"'{biased.folder}' is of another ensemble than the simulation '{source.folder}'."
        )
    found = biased.manifest.get("flattened", {}).get("delta_f_alpha_l")
    if flattened is not None and (found is None or found["error"] is None):
        raise MolflowError(
            f"the simulation in '{biased.folder}' knows no free energy of alpha-L: make a longer "
            "one with molflow simulate --flatten phi,psi."
        )
    if found is None or found["error"] is None:
        return None
    return {
        "method": "static bias in " + " and ".join(
            torsion["name"] for torsion in biased.manifest["flattened"]["torsions"]
        ),
        **found,
        "plan": biased.manifest["plan"],
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Run ``python -m molflow.data.reference SIMULATION --out FOLDER``."""
    parser = argparse.ArgumentParser(prog="molflow.data.reference", description=__doc__)
    parser.add_argument("simulation", help="folder of a finished simulation")
    parser.add_argument("--out", required=True, help="folder of the reference")
    parser.add_argument(
        "--thin", type=int, default=_THIN, help="keep positions of every THIN-th frame"
    )
    parser.add_argument("--held-out", help="runs for scoring, for example 4,5")
    parser.add_argument("--flattened", help="folder of a simulation under a bias in phi and psi")
    options = parser.parse_args(arguments)
    try:
        held_out = [int(run) for run in options.held_out.split(",")] if options.held_out else None
    except ValueError:
        parser.error(f"--held-out is '{options.held_out}': write run numbers such as 4,5")
    reference = reference_from_simulation(
        options.simulation, options.thin, held_out, options.flattened
    )
    reference.save(options.out)
    print(f"reference of {len(reference.torsions)} frames in {options.out}")


if __name__ == "__main__":
    main()
