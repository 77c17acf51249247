"""Read a finished simulation folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mdtraj
import numpy as np

from molflow.errors import MolflowError
from molflow.files import ascii_path, read_arrays, read_json, reader, sha256_of


@dataclass(frozen=True)
class SimulationFolder:
    """A finished simulation: its manifest, topology, and the runs on disk."""

    folder: Path
    manifest: dict
    topology: mdtraj.Topology

    @property
    def runs(self) -> list[int]:
        """Numbers of the independent runs."""
        return list(range(self.manifest["replicas"]))

    @cached_property
    def weighted(self) -> bool:
        """Whether frames have ``log_weights``, as those of runs under a bias.

        Raises
        ------
        MolflowError
            If those of some runs have and those of others have not.
        """
        count = sum("log_weights" in self.arrays(run) for run in self.runs)
        if 0 < count < len(self.runs):
            raise MolflowError(
                f"{count} of {len(self.runs)} runs in '{self.folder}' have weights: all of them "
                "need log_weights, up to one common constant, or none."
            )
        return count > 0

    @reader
    def trajectory(self, run: int) -> mdtraj.Trajectory:
        """Return all frames of one run with times in ps."""
        path = self._checked(f"replica-{run}.dcd")
        with ascii_path(path) as plain:
            frames = mdtraj.load_dcd(str(plain), top=self.topology)
        times = self.arrays(run)["times"]
        if len(times) != frames.n_frames:
            raise MolflowError(
                f"'{path}' has {frames.n_frames} frames but the file of energies beside it has "
                f"{len(times)}: the simulation folder is damaged."
            )
        frames.time = times
        return frames

    def arrays(self, run: int) -> dict[str, np.ndarray]:
        """Return ``energies`` (F,) kJ/mol, ``times`` (F,) ps and the rest of one run's file.

        If the simulation is `weighted`, ``log_weights`` (F,) are there.
        """
        return read_arrays(self._checked(f"replica-{run}.npz"))

    def _checked(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise MolflowError(f"the simulation folder '{self.folder}' has lost '{name}'.")
        if sha256_of(path) != self.manifest["sha256"].get(name):
            raise MolflowError(
                f"'{path}' is not the file that the simulation wrote: it was changed or damaged; "
                "bring the original back or simulate again."
            )
        return path


def trajectory_hashes(manifest: dict, runs: Iterable[int]) -> dict[str, int]:
    """Return the runs of a simulation by the SHA-256 of the files of their frames.

    Parameters
    ----------
    manifest : dict
        Of a simulation, or what a reference has kept of it; or of frames that were made elsewhere,
        of whose files all are told, since their parts may be of any.
    runs : iterable of int
        Those that are asked for.
    """
    if "files" in manifest:
        return {file["sha256"]: number for number, file in enumerate(manifest["files"])}
    known = manifest.get("sha256", {})
    named = {run: known.get(f"replica-{run}.dcd") for run in runs}
    return {value: run for run, value in named.items() if value is not None}


@reader
def open_simulation(folder: str | Path) -> SimulationFolder:
    """Open a folder that `simulate` has finished.

    Raises
    ------
    MolflowError
        If it is not a simulation folder, or not finished.
    """
    folder = Path(folder)
    path = folder / "simulation.json"
    if not path.is_file():
        raise MolflowError(
            f"'{folder}' has no simulation.json: give a folder that molflow simulate wrote."
        )
    manifest = read_json(path)
    needed = {"system", "ensemble", "ensemble_hash", "temperature", "frame_interval_ps", "replicas"}
    if not isinstance(manifest, dict) or not needed | {"status"} <= manifest.keys():
        raise MolflowError(f"'{path}' does not describe a simulation: simulate again.")
    if manifest["status"] != "finished":
        raise MolflowError(
            f"the simulation in '{folder}' is not finished: "
            "run its command again to go on, then come back."
        )
    topology = folder / "topology.pdb"
    if not topology.is_file():
        raise MolflowError(f"the simulation folder '{folder}' has lost 'topology.pdb'.")
    return SimulationFolder(folder, manifest, mdtraj.load_topology(str(topology)))
