"""Are the samples of the right hand?"""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.analysis.molecule.stereo import handedness, stereocentres
from molflow.checking.finding import INCONCLUSIVE, Finding, judge, share_interval
from molflow.checking.subject import Subject

#: Largest share of samples with a stereocentre of the wrong hand.
LIMIT = 0.001


def chirality(subject: Subject) -> Finding:
    """Count the samples with a stereocentre of another hand than the checkpoint's structure.

    Samples that are not finite have no hand and count as wrong.
    """
    centres = _centres(subject)
    if not centres:
        return Finding(
            "chirality", "Chirality", INCONCLUSIVE,
            "The atoms of this map carry no stereocentre: mirror images cannot be told from right "
            "samples.", None, LIMIT,
        )  # fmt: skip
    structure = mdtraj.load(str(subject.checkpoint.topology_path)).xyz
    right = handedness(structure, centres)[0]
    wrong = int(np.sum((handedness(subject.positions, centres) != right).any(axis=1)))
    n = len(subject.positions)
    interval = share_interval(wrong, n)
    verdict = judge(interval, LIMIT)
    sentence = f"{wrong:,} of {n:,} samples have a stereocentre of the wrong hand"
    if verdict == INCONCLUSIVE:
        sentence += ", too few samples to say whether that is rare enough"
    return Finding(
        "chirality", "Chirality", verdict, sentence + ".", wrong / n, LIMIT, interval, "share",
        {"wrong_hand": wrong, "samples": n, "stereocentres": len(centres)},
    )  # fmt: skip


def _centres(subject: Subject) -> list[tuple[int, int, int, int]]:
    if subject.system is None:
        return stereocentres(subject.checkpoint.topology())
    # A coarse map may keep a centre without what makes its neighbours differ.
    system = subject.system
    whole = mdtraj.load_topology(str(system.structure_path))
    return stereocentres(whole, None if system.atoms is None else np.array(system.atoms))
