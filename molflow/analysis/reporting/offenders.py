"""The samples that failed a test, as a trajectory and a table."""

from __future__ import annotations

import csv
from pathlib import Path

import mdtraj

from molflow.analysis.files.own_files import OFFENDERS_HEADER, check_offenders_paths
from molflow.analysis.samples import Samples
from molflow.errors import MolflowError
from molflow.files import check_hdf5, replacing, writable_folder
from molflow.trajectories import write_trajectory

#: Formats of the trajectory.
FORMATS = (".dcd", ".xtc", ".h5", ".pdb")


def check_offenders_path(path: str | Path) -> Path:
    """Return the path.

    Raises
    ------
    MolflowError
        If its extension is not one of `FORMATS`, its folder cannot be written, or a file would be
        replaced that no comparison wrote.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise MolflowError(
            f"offenders is '{path}': give the name of a trajectory file that ends in "
            f"{', '.join(FORMATS)}."
        )
    check_hdf5(path)
    check_offenders_paths(path, _topology_path(path))
    writable_folder(path.parent)
    return path


def _topology_path(path: Path) -> Path | None:
    """Return where the topology of a trajectory without one goes."""
    if path.suffix.lower() not in (".dcd", ".xtc"):
        return None
    return path.with_suffix(".pdb")


def write_offenders(path: Path, samples: Samples) -> None:
    """Write the finite samples that failed a test, and why all that failed did.

    Parameters
    ----------
    path : Path
        Trajectory; with as many frames as `Samples.offenders` holds, absent if there are none.
        Beside it the table ``.csv``: a row per sample and failed test with the sample's number in
        the ensemble, the frame of the trajectory (empty beyond its end), the test, the worst
        place, its value, the limits and their unit. A DCD or XTC file also gets a PDB file of the
        first of them, to be its topology.
    samples : Samples
    """
    frame = {int(sample): i for i, sample in enumerate(samples.offender_sample)}
    with replacing(path.with_suffix(".csv")) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(OFFENDERS_HEADER.split(","))
            for bad in (~samples.validity.finite).nonzero()[0]:
                writer.writerow([int(bad), "", "finite", "", "", "", "", ""])
            for f in samples.validity.findings:
                numbers = [f"{x:.6g}" for x in (f.value, f.low, f.high)]
                writer.writerow(
                    [f.sample, frame.get(f.sample, ""), f.test, f.where, *numbers, f.unit]
                )
    topology = _topology_path(path)
    if not len(samples.offenders):
        for old in (path, topology):  # of an earlier comparison
            if old is not None:
                old.unlink(missing_ok=True)
        return
    made = mdtraj.Trajectory(samples.offenders, samples.features.topology)
    write_trajectory(path, made.xyz, made.topology)
    if topology is not None:
        with replacing(topology) as temporary:
            made[0].save(str(temporary))
