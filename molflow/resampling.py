"""A weighted ensemble made into one of equal weights, for programs that know nothing of weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import molflow
from molflow.errors import MolflowError
from molflow.files import (
    read_json,
    replacing,
    sha256_of,
    writable_folder,
    write_arrays,
    write_json,
)
from molflow.parts import alone
from molflow.trajectories import check_extension, write_trajectory

if TYPE_CHECKING:
    import mdtraj
    import numpy as np

    from molflow.analysis.files.ensemble import EnsembleFile


@alone
def resample(
    ensemble: str | Path | mdtraj.Trajectory,
    out: str | Path,
    n: int | None = None,
    *,
    weights: str | Path | np.ndarray | None = None,
    top: str | Path | None = None,
    seed: int = 0,
) -> dict:
    """Draw conformations of equal weight from a weighted ensemble.

    By systematic resampling: each conformation is drawn n times its weight, rounded up or down, so
    that shares are kept as well as n conformations can. One of more than 1/n of the weight occurs
    several times. The weighted ensemble says more than any draw from it, and `molflow.compare`
    takes it as it is.

    Parameters
    ----------
    ensemble : path or mdtraj.Trajectory
        As for `molflow.compare`.
    out : path
        ``.dcd``, ``.h5``, ``.xtc`` or ``.pdb``, in the order of the ensemble. Beside it are written
        the record (``.json``), ``.npz`` with ``drawn``, the number of each in the ensemble, and
        ``energies`` if the ensemble has them, and ``topology.pdb`` if there is none.
    n : int, optional
        By default what the weights are worth, (sum of w)² / (sum of w²).
    weights, top
        As for `molflow.compare`.
    seed : int
        Of the one random number that is drawn.

    Returns
    -------
    dict
        The record. ``resampled`` in it has ``n``, ``distinct`` conformations, ``copies`` beyond
        the first of each, how often the ``most`` frequent occurs, and what the weights were worth
        (``effective``).

    Raises
    ------
    MolflowError
        If there are no weights, a file cannot be read or written, or `out` would replace a file
        that was not resampled.
    """
    import numpy as np

    from molflow.analysis.files.ensemble import read_ensemble
    from molflow.analysis.files.weight_files import read_log_weights
    from molflow.analysis.weighting import effective_size, normalised, systematic

    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise MolflowError(f"n is {n!r}: it must be a whole number, at least 1.")
    out = _free_name(out)
    given = read_ensemble(ensemble, top)
    logarithms = given.log_weights
    if weights is not None:
        logarithms = read_log_weights(weights, given.n, "the ensemble")
    if logarithms is None:
        raise MolflowError(
            f"the ensemble '{ensemble}' brings no weights: give them as weights (--weights FILE)."
        )
    writable_folder(out.parent)
    keep = _topology_there(out, given.topology)
    share = normalised(logarithms)
    worth = effective_size(given.n, share)
    offset = np.random.default_rng(seed).random()
    drawn = systematic(share, round(worth) if n is None else n, offset)
    distinct, times = np.unique(drawn, return_counts=True)
    positions = given.positions_at(distinct)[np.searchsorted(distinct, drawn)]
    write_trajectory(out, positions, given.topology)
    digest = sha256_of(out)
    energies = {} if given.energies is None else {"energies": given.energies[drawn]}
    write_arrays(out.with_suffix(".npz"), drawn=drawn, **energies)
    if not keep:
        with replacing(out.with_name("topology.pdb")) as temporary:
            _first(positions, given.topology).save_pdb(str(temporary))
    record = _origin(given) | {
        "n": len(drawn),
        "resampled": {
            "from": None if given.path is None else given.path.name,
            "sha256": given.sha256,
            "of": given.n,
            "n": len(drawn),
            "distinct": len(distinct),
            "copies": len(drawn) - len(distinct),
            "most": int(times.max()),
            "effective": worth,
            "seed": seed,
        },
        "trajectory": out.name,
        "trajectory_sha256": digest,
        "molflow": molflow.__version__,
    }
    write_json(out.with_suffix(".json"), record)
    return record


def _free_name(out: str | Path) -> Path:
    """Return the path if nothing but an earlier resampling would be replaced."""
    out = check_extension(out)
    sidecars = out.with_suffix(".json"), out.with_suffix(".npz")
    there = [path for path in (out, *sidecars) if path.exists()]
    if there:
        record = read_json(sidecars[0]) if sidecars[0].is_file() else {}
        if not isinstance(record, dict) or "resampled" not in record:
            raise MolflowError(
                f"'{there[0]}' is there already and was not resampled: choose another name for out."
            )
    return out


def _topology_there(out: Path, topology: mdtraj.Topology) -> bool:
    """Return whether a topology.pdb is there; one of other atoms is an error."""
    import mdtraj

    path = out.with_name("topology.pdb")
    if not path.is_file():
        return False
    there = mdtraj.load_topology(str(path))
    names = [[(a.name, a.residue.name) for a in t.atoms] for t in (there, topology)]
    if names[0] != names[1]:
        raise MolflowError(
            f"'{path}' is of other atoms than the ensemble: choose another folder for out."
        )
    return True


def _first(positions: np.ndarray, topology: mdtraj.Topology) -> mdtraj.Trajectory:
    import mdtraj

    return mdtraj.Trajectory(positions[:1], topology)


def _origin(given: EnsembleFile) -> dict:
    """Return what the ensemble's record says of the law that it was drawn from."""
    kept = ("system", "ensemble_hash", "training_replicas", "checkpoint", "nfe")
    return {key: given.record[key] for key in kept if key in given.record}
