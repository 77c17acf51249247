"""A reference made of any trajectory file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import mdtraj
import numpy as np

from molflow.analysis.files.ensemble import interval_of, read_ensemble
from molflow.analysis.molecule.graph import with_bonds
from molflow.analysis.molecule.stiff_bonds import isomer_torsions, kept_torsions
from molflow.analysis.reference import Reference
from molflow.analysis.samples import chunk_size
from molflow.analysis.soundness import bonds_of, long_bonds, refuse_long_bonds
from molflow.analysis.statistics import evenly_spaced
from molflow.analysis.torsion_list import measure_torsions, torsion_list
from molflow.errors import MolflowError

#: Positions that are kept, evenly spaced; torsions and energies of all frames are.
KEPT_POSITIONS = 20_000
#: What a reference says of its times if they are no series.
UNEVEN = "not equally spaced"


@dataclass(frozen=True)
class KnownEnsemble:
    """The ensemble that a trajectory is said to be of, and its force field."""

    system: str
    definition: dict
    hash: str
    temperature: float
    energies: Callable[[np.ndarray], np.ndarray]


def _check_molecule(path: Path, topology: mdtraj.Topology) -> None:
    water = sum(residue.is_water for residue in topology.residues)
    if water:
        raise MolflowError(
            f"the reference '{path}' holds {water} water molecules, and it is the solute that is "
            "compared: make molecules whole and leave the solvent out of both trajectories first "
            "(mdtraj's image_molecules and remove_solvent do it)."
        )


def reference_from_trajectory(
    path: str | Path, top: str | Path | None = None, known: KnownEnsemble | None = None
) -> Reference:
    """Return a reference of one run from a trajectory file, which is read in chunks.

    A file that `molflow.propagate` wrote gives one run for each chain.

    Parameters
    ----------
    path : path
        Any trajectory that `molflow.analysis.files.ensemble.read_ensemble` reads.
    top : path, optional
        Its topology, if it has none of its own.
    known : KnownEnsemble, optional
        Gives energies, temperature and the hash; without it none is known.

    Raises
    ------
    MolflowError
        If the file cannot be read, a frame is not finite, the molecule is cut by a periodic box,
        or there is water.
    """
    path = Path(path)
    given = read_ensemble(path, top)
    size = chunk_size(given.topology.n_atoms)
    first = next(given.chunks(1)).xyz[0]
    _check_molecule(path, given.topology)
    topology = with_bonds(given.topology, first)
    bonds, cut, torn = bonds_of(topology), 0, 0
    every = torsion_list(topology) + isomer_torsions(topology)
    wanted = evenly_spaced(given.n, KEPT_POSITIONS)
    torsions, energies, positions, times, start = [], [], [], [], 0
    for chunk in given.chunks(size):
        xyz = chunk.xyz
        bad = len(xyz) - int(np.isfinite(xyz).all(axis=(1, 2)).sum())
        if bad:
            raise MolflowError(
                f"the reference '{path}' has {bad} frames with positions that are not finite among "
                f"the frames from {start}: leave them out, a reference has to be sound."
            )
        masks = long_bonds(xyz, bonds, chunk.unitcell_lengths)
        cut, torn = cut + int(masks[0].sum()), torn + int(masks[1].sum())
        torsions.append(measure_torsions(xyz, every))
        times.append(chunk.time)
        if known is not None:
            energies.append(known.energies(xyz))
        here = wanted[(wanted >= start) & (wanted < start + len(xyz))] - start
        positions.append(xyz[here])
        start += len(xyz)
    given.check_unchanged()
    refuse_long_bonds(path.name, cut, torn, start)
    names, angles = kept_torsions(every, np.concatenate(torsions))
    interval = interval_of(np.concatenate(times)) if given.timed else None
    provenance = {"trajectory": path.name, "sha256": given.sha256, "frames": start}
    if given.timed and interval is None and start > 1:
        provenance["times"] = UNEVEN
    found = Reference(
        topology=topology,
        torsions=angles,
        energies=np.concatenate(energies) if energies else None,
        replica=np.zeros(start, np.int16),
        positions=np.concatenate(positions),
        position_frame=wanted.astype(np.int32),
        system=path.name if known is None else known.system,
        ensemble={} if known is None else known.definition,
        ensemble_hash=None if known is None else known.hash,
        temperature=None if known is None else known.temperature,
        frame_interval_ps=interval,
        torsion_names=names,
        provenance=provenance | ({"notes": given.flaws} if given.flaws else {}),
        log_weights=given.log_weights,
    )
    return _in_chains(found, given.record)


def _in_chains(found: Reference, record: dict) -> Reference:
    """Return the reference as several runs of plain dynamics, if its record says that it is."""
    if "frames_per_chain" not in record:
        return found
    chains, frames = record["chains"], record["frames_per_chain"]
    made = {"plan": {"temperatures": [record["temperature"]]}, "propagated": record["plan"]}
    return replace(
        found,
        replica=np.repeat(np.arange(chains, dtype=np.int16), frames),
        frame_interval_ps=record["frame_interval_ps"],
        temperature=record["temperature"],
        system=record["system"],
        ensemble_hash=record["ensemble_hash"],
        provenance=found.provenance | {"simulation": made},
    )
