"""The samples that failed a test, as a trajectory and a table."""

from __future__ import annotations

import csv
from pathlib import Path

import mdtraj

from molflow.analysis.samples import Samples
from molflow.errors import MolflowError
from molflow.files import check_hdf5, replacing, writable_folder

#: Formats of the trajectory.
FORMATS = (".dcd", ".xtc", ".h5", ".pdb")


def check_offenders_path(path: str | Path) -> Path:
    """Return the path.

    Raises
    ------
    MolflowError
        If its extension is not one of `FORMATS` or its folder cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise MolflowError(
            f"offenders is '{path}': give the name of a trajectory file that ends in "
            f"{', '.join(FORMATS)}."
        )
    check_hdf5(path)
    writable_folder(path.parent)
    return path


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
            writer.writerow(
                ["sample", "frame", "test", "where", "value", "lowest", "highest", "unit"]
            )
            for bad in (~samples.validity.finite).nonzero()[0]:
                writer.writerow([int(bad), "", "finite", "", "", "", "", ""])
            for f in samples.validity.findings:
                numbers = [f"{x:.6g}" for x in (f.value, f.low, f.high)]
                writer.writerow(
                    [f.sample, frame.get(f.sample, ""), f.test, f.where, *numbers, f.unit]
                )
    if not len(samples.offenders):
        path.unlink(missing_ok=True)
        return
    made = mdtraj.Trajectory(samples.offenders, samples.features.topology)
    with replacing(path) as temporary:
        made.save(str(temporary))
    if path.suffix.lower() in (".dcd", ".xtc"):
        with replacing(path.with_suffix(".pdb")) as temporary:
            made[0].save(str(temporary))
