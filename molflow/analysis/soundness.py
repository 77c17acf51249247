"""Whether a reference is sound: tested before anything is judged by it."""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.analysis.features import Features
from molflow.analysis.files.ensemble import EnsembleFile
from molflow.analysis.floor import scored_part
from molflow.analysis.molecule.graph import LONGEST_BOND
from molflow.analysis.molecule.stereo import handedness, shown_stereocentres
from molflow.analysis.reference import Reference
from molflow.analysis.samples import Samples, fingerprints_of
from molflow.errors import MolflowError

#: Frames that are scored against, at least: limits, floors and intervals of fewer say nothing.
LEAST_FRAMES = 50
#: Positions that are kept of them, at least: they set the limits of sound molecules.
LEAST_POSITIONS = 20
#: A bond that is farther than this from its median is broken, nm.
_BROKEN = 0.05
#: Share of the frames of a reference that an ensemble may have in common with it.
_SAME = 0.01
#: Share of broken frames above which a reference is refused.
_MOST_BROKEN = 0.01


def long_bonds(
    positions: np.ndarray, bonds: np.ndarray, box: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return which conformations have a bond that no bond is as long as, and why.

    Parameters
    ----------
    positions : ndarray, (n, n_atoms, 3)
        nm.
    bonds : ndarray, (k, 2) int
    box : ndarray, (n, 3), optional
        Edges of the periodic box, nm.

    Returns
    -------
    cut, torn : ndarray, (n,) bool
        Cut are those whose long bonds have the right length to the nearest periodic image, torn
        the others.
    """
    cut, torn = np.zeros(len(positions), bool), np.zeros(len(positions), bool)
    for a, b in bonds:
        between = positions[:, b].astype(np.float64) - positions[:, a]
        long = np.linalg.norm(between, axis=1) > LONGEST_BOND
        if not long.any():
            continue
        whole = np.zeros(len(positions), bool)
        if box is not None:
            edges = np.where(box > 0, box, np.inf)
            with np.errstate(invalid="ignore"):
                image = between - np.where(np.isinf(edges), 0.0, edges * np.round(between / edges))
            whole = np.linalg.norm(image, axis=1) <= LONGEST_BOND
        cut |= long & whole
        torn |= long & ~whole
    return cut & ~torn, torn


def bonds_of(topology: mdtraj.Topology) -> np.ndarray:
    """Return the bonded pairs of atoms, (k, 2) int."""
    return np.array([(a.index, b.index) for a, b in topology.bonds], int).reshape(-1, 2)


def refuse_long_bonds(name: str, cut: int, torn: int, n: int) -> None:
    """Raise a sentence if conformations of a reference are cut by a box or torn.

    Raises
    ------
    MolflowError
        If there are any.
    """
    if cut:
        raise MolflowError(
            f"{cut} of the {n} frames of the reference '{name}' are cut by the edge of its "
            "periodic box: make molecules whole first (mdtraj's make_molecules_whole does it)."
        )
    if torn:
        raise MolflowError(
            f"{torn} of the {n} frames of the reference '{name}' have a bond of more than "
            f"{LONGEST_BOND} nm: if the edge of a periodic box cuts the molecule, make it whole "
            "first (mdtraj's make_molecules_whole does it); otherwise its topology is of another "
            "molecule, or the molecule is broken."
        )


def check_soundness(reference: Reference) -> list[str]:
    """Test a reference and return what should be noted of it.

    Raises
    ------
    MolflowError
        If it has too few frames, molecules are cut, torn or broken, or a stereocentre has both
        hands.
    """
    scored, name = scored_part(reference), reference.system
    frames, kept = len(scored.torsions), len(scored.positions)
    if frames < LEAST_FRAMES or kept < LEAST_POSITIONS:
        few = f"{kept} positions" if frames >= LEAST_FRAMES else (
            "1 frame" if frames == 1 else f"{frames} frames"
        )  # fmt: skip
        least = f"{LEAST_FRAMES}" if frames < LEAST_FRAMES else f"{LEAST_POSITIONS}"
        raise MolflowError(
            f"the reference of '{name}' has {few} to score against, and at least {least} are "
            "needed: limits, floors and intervals that come from fewer say nothing. Give a longer "
            "trajectory; some structures are no ensemble."
        )
    different = len(np.unique(scored.positions.reshape(kept, -1), axis=0))
    if different < LEAST_POSITIONS:
        raise MolflowError(
            f"the {kept} positions of the reference of '{name}' are copies of {different} that "
            f"differ, and at least {LEAST_POSITIONS} are needed: structures that are repeated are "
            "no ensemble. Give a trajectory."
        )
    bonds = bonds_of(scored.topology)
    cut, torn = long_bonds(scored.positions, bonds)
    refuse_long_bonds(name, 0, int((cut | torn).sum()), kept)
    broken = np.zeros(kept, bool)
    for a, b in bonds:
        length = np.linalg.norm(scored.positions[:, b] - scored.positions[:, a], axis=1)
        broken |= np.abs(length - np.median(length)) > _BROKEN
    if broken.sum() > _MOST_BROKEN * kept:
        raise MolflowError(
            f"{int(broken.sum())} of {kept} frames of the reference of '{name}' have a bond more "
            f"than {_BROKEN} nm from its usual length: leave broken frames out, a reference has to "
            "be sound."
        )
    notes = []
    if broken.any():
        notes.append(
            f"{int(broken.sum())} of {kept} frames of the reference have a broken bond: they widen "
            "its limits."
        )
    return notes + _hands(scored)


def check_judgeable(features: Features) -> None:
    """Raise if an ensemble's atoms have nothing that could be judged.

    Raises
    ------
    MolflowError
        If no two of them are bonded.
    """
    if features.terms or features.torsions:
        return
    names = ", ".join(sorted({atom.name for atom in features.topology.atoms})[:5])
    raise MolflowError(
        f"the ensemble's {len(features.atoms)} atoms ({names}) have no bond among them, so there "
        "is no torsion, bond or angle to judge: give at least the backbone (N, CA, C)."
    )


def cut_note(samples: Samples, given: EnsembleFile) -> list[str]:
    """Return the note that broken samples are cut by the box that their file carries, if so."""
    if samples.validity.counts()["broken_bond"] in (None, 0) or not len(samples.offenders):
        return []
    box = next(given.chunks(1)).unitcell_lengths
    if box is None:
        return []
    edges = np.repeat(box, len(samples.offenders), axis=0)
    cut, torn = long_bonds(samples.offenders, bonds_of(samples.features.topology), edges)
    if not cut.any():
        return []
    return [
        f"{int(cut.sum())} of the first {len(cut)} samples that failed a test are cut by the edge "
        f"of the periodic box ({', '.join(f'{edge:.2f}' for edge in box[0])} nm) that the file "
        "carries: make molecules whole (mdtraj's make_molecules_whole does it) and compare again."
    ]


def own_frames_note(samples: Samples, scored: Reference) -> list[str]:
    """Return the note that conformations are frames of the reference itself, if so."""
    there = fingerprints_of(scored.positions[:, samples.features.atoms])
    known = int(np.isin(there, samples.fingerprints).sum())
    # Simulations of one molecule may well begin with the same frame.
    if known <= max(1, _SAME * min(len(there), len(samples))):
        return []
    return [
        f"{known:,} of {len(there):,} positions of the reference are conformations of the "
        "ensemble, bit by bit: so far it is judged by itself, and that it agrees says nothing. "
        "Give a reference that it does not come from."
    ]


def scale_note(geometry: list[dict]) -> list[str]:
    """Return the note that positions seem to have another unit than the reference's, if so."""
    ratios = [
        row["mean_model"] / row["mean_reference"] for row in geometry if row["kind"] == "bond"
    ]
    ratio = float(np.median(ratios)) if ratios else 1.0
    for times in (10.0, 0.1):
        if abs(ratio / times - 1) < 0.02:
            return [
                f"The ensemble's bonds are {times:g} times as long as the reference's: nanometres "
                "were written where its format has ångström, or the other way round."
            ]
    return []


def _hands(scored: Reference) -> list[str]:
    topology, positions = scored.topology, scored.positions
    centres = shown_stereocentres(topology, positions)
    if not centres:
        return []
    signs = handedness(positions, centres)
    notes = []
    for (centre, *_), column in zip(centres, signs.T, strict=True):
        other = int(min((column > 0).sum(), (column <= 0).sum()))
        atom = topology.atom(centre)
        if other:
            raise MolflowError(
                f"{other} of {len(column)} frames of the reference of '{scored.system}' have the "
                f"other hand at {atom.residue}:{atom.name} than the rest: leave mirror images out, "
                "a reference has to be sound."
            )
    mirrored = [str(r) for r in topology.residues if _is_mirrored(r, positions)]
    if mirrored:
        notes.append(
            f"In the reference {', '.join(mirrored[:5])}"
            f"{f' and {len(mirrored) - 5} more' if len(mirrored) > 5 else ''} are D-residues by "
            "their positions and L-residues by name: if that is not meant, the reference is a "
            "mirror image, and so is what agrees with it."
        )
    return notes


def _is_mirrored(residue, positions: np.ndarray) -> bool:
    """Return whether a residue of an L-amino acid's name has the D hand in most frames."""
    place = {atom.name: atom.index for atom in residue.atoms}
    if residue.name not in _L_NAMES or not {"N", "CA", "C", "CB"} <= place.keys():
        return False
    centre = (place["CA"], place["N"], place["C"], place["CB"])
    # Seen from the side of CB, N to C to CB of an L-residue has a positive triple product.
    return float(np.median(handedness(positions, [centre]))) < 0


_L_NAMES = frozenset(
    "ALA ARG ASN ASP CYS CYX GLN GLU HIS HID HIE HIP ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL "
    "ASH GLH LYN CYM HSD HSE HSP".split()
)
