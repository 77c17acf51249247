"""The reference that ensembles are judged against: independent MD runs, kept by run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np

from molflow.analysis.weighting import checked_log_weights, normalised, part_of
from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json, reader, replacing, write_arrays, write_json

_DTYPES = {
    "torsions": np.float32,
    "energies": np.float64,
    "replica": np.int16,
    "positions": np.float32,
    "position_frame": np.int32,
    "log_weights": np.float64,
}
#: Arrays that a reference need not have.
_OPTIONAL = ("energies", "log_weights")
_FIELDS = (
    "system", "ensemble", "ensemble_hash", "temperature", "frame_interval_ps", "torsion_names",
    "provenance",
)  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """Frames of several independent runs of one ensemble.

    Attributes
    ----------
    topology : mdtraj.Topology
        All atoms, with bonds.
    torsions : ndarray, (F, T), float32
        Every torsion of `molflow.analysis.torsion_list` of every frame, rad.
    energies : ndarray, (F,), float64, or None
        Potential energies of every frame, kJ/mol; None if no force field is known.
    replica : ndarray, (F,), int16
        Which independent run each frame is of; frames of a run are in order of time.
    positions : ndarray, (M, n_atoms, 3), float32
        Positions of thinned frames, nm.
    position_frame : ndarray, (M,), int32
        Index of each thinned frame into the F frames.
    system : str
        Name of the molecular system.
    ensemble : dict
        Everything that defines the Boltzmann ensemble; `ensemble_hash` is its hash, None if the
        ensemble is not known.
    temperature : float or None
        K.
    frame_interval_ps : float or None
        Time between frames of a run, ps.
    torsion_names : tuple of str
    held_out_runs : tuple of int
        The runs that no model was trained or validated on (``held_out`` in the JSON file).
    provenance : dict
        Where the frames come from.
    delta_f_alpha_l : dict or None
        A stored estimate of the free energy of alpha-L, if the reference brings one.
    log_weights : ndarray, (F,), float64, or None
        Natural logarithms of the weights of the frames, up to a constant common to all runs, as of
        runs under a bias; None for equal weights.
    """

    topology: mdtraj.Topology
    torsions: np.ndarray
    energies: np.ndarray | None
    replica: np.ndarray
    positions: np.ndarray
    position_frame: np.ndarray
    system: str
    ensemble: dict
    ensemble_hash: str | None
    temperature: float | None
    frame_interval_ps: float | None
    torsion_names: tuple[str, ...] = ("phi", "psi")
    held_out_runs: tuple[int, ...] = ()
    provenance: dict = field(default_factory=dict)
    delta_f_alpha_l: dict | None = None
    log_weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        frames = len(self.torsions)
        problem = None
        if frames == 0:
            problem = "it has no frames"
        elif len(self.replica) != frames or (
            self.energies is not None and len(self.energies) != frames
        ):
            problem = "torsions, energies and replica differ in length"
        elif self.torsions.shape[1:] != (len(self.torsion_names),):
            problem = f"it names {len(self.torsion_names)} torsions and has others"
        elif len(self.positions) != len(self.position_frame):
            problem = "positions and position_frame differ in length"
        elif len(self.positions) and not 0 <= min(self.position_frame) <= max(
            self.position_frame
        ) < frames:
            problem = "position_frame points outside the frames"
        elif self.positions.shape[1:] != (self.topology.n_atoms, 3):
            problem = (
                f"its positions have the shape {self.positions.shape}, "
                f"but the topology has {self.topology.n_atoms} atoms"
            )
        elif not np.isfinite(self.torsions).all() or not (
            self.energies is None or np.isfinite(self.energies).all()
        ):
            problem = "it holds values that are not finite"
        if problem:
            raise MolflowError(
                f"the reference of '{self.system}' is not usable: {problem}. Make it again."
            )
        if self.log_weights is not None:
            checked_log_weights(
                self.log_weights, frames, f"the reference of '{self.system}'"
            )

    @cached_property
    def weights(self) -> np.ndarray | None:
        """Weights of the frames, (F,) with a sum of 1; None for equal ones."""
        return normalised(self.log_weights)

    @cached_property
    def position_weights(self) -> np.ndarray | None:
        """Weights of the thinned frames, (M,) with a sum of 1; None for equal ones."""
        return part_of(self.weights, self.position_frame)

    @property
    def runs(self) -> tuple[int, ...]:
        """Labels of the independent runs, sorted."""
        return tuple(int(run) for run in np.unique(self.replica))

    def select(self, replicas: Sequence[int]) -> Reference:
        """Return the frames and thinned positions of some runs, with indices remapped.

        Raises
        ------
        MolflowError
            If a run does not exist or none is named.
        """
        wanted = sorted({int(run) for run in replicas})
        if not wanted or not set(wanted) <= set(self.runs):
            raise MolflowError(
                f"the reference of '{self.system}' has the runs {list(self.runs)}, not {wanted}: "
                "choose from those."
            )
        keep = np.isin(self.replica, wanted)
        new_index = np.cumsum(keep) - 1
        thinned = keep[self.position_frame]
        return replace(
            self,
            torsions=self.torsions[keep],
            energies=None if self.energies is None else self.energies[keep],
            log_weights=None if self.log_weights is None else self.log_weights[keep],
            replica=self.replica[keep],
            positions=self.positions[thinned],
            position_frame=new_index[self.position_frame[thinned]].astype(np.int32),
            held_out_runs=tuple(run for run in self.held_out_runs if run in wanted),
        )

    def held_out(self) -> Reference:
        """Return the held-out runs only.

        Raises
        ------
        MolflowError
            If the reference holds no run out.
        """
        return self.select(self.held_out_runs)

    def save(self, folder: str | Path) -> None:
        """Write ``reference.json``, ``reference.npz`` and ``topology.pdb``."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "topology.pdb") as temporary:
            mdtraj.Trajectory(self.positions[:1], self.topology).save_pdb(str(temporary))
        write_arrays(
            folder / "reference.npz",
            **{
                name: np.asarray(getattr(self, name), kind)
                for name, kind in _DTYPES.items()
                if getattr(self, name) is not None
            },
        )
        text = {name: getattr(self, name) for name in _FIELDS} | {
            "torsion_names": list(self.torsion_names),
            "held_out": list(self.held_out_runs),
        }
        if self.delta_f_alpha_l is not None:
            text["delta_f_alpha_l"] = self.delta_f_alpha_l
        write_json(folder / "reference.json", text)


@reader
def load_reference(folder: str | Path, topology: mdtraj.Topology | None = None) -> Reference:
    """Read a reference folder.

    Parameters
    ----------
    folder : str or Path
        With ``reference.json`` and ``reference.npz``.
    topology : mdtraj.Topology, optional
        By default that of ``topology.pdb`` in the folder.

    Raises
    ------
    MolflowError
        If a file is missing or damaged, or the parts do not fit together.
    """
    folder = Path(folder)
    text = read_json(folder / "reference.json")
    arrays = read_arrays(folder / "reference.npz")
    if topology is None:
        path = folder / "topology.pdb"
        if not path.is_file():
            raise MolflowError(f"the reference folder '{folder}' has no topology.pdb: add it.")
        topology = mdtraj.load_topology(str(path))
    kept = {n: kind for n, kind in _DTYPES.items() if n not in _OPTIONAL or n in arrays}
    try:
        held: dict[str, Any] = {n: np.asarray(arrays[n], kind) for n, kind in kept.items()}
        held.setdefault("energies", None)
        return Reference(
            topology=topology,
            **held,
            **{name: text[name] for name in _FIELDS if name != "torsion_names"},
            torsion_names=tuple(text["torsion_names"]),
            held_out_runs=tuple(text["held_out"]),
            delta_f_alpha_l=text.get("delta_f_alpha_l"),
        )
    except KeyError as error:
        raise MolflowError(
            f"the reference folder '{folder}' lacks the entry {error}: make it again."
        ) from error
