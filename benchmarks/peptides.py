"""Long peptides, without a file of them: what they are, and places for their atoms."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from molflow.files import read_json
from molflow.nn.graph import MolecularGraph
from molflow.systems import systems_folder

DIPEPTIDE = MolecularGraph.from_dict(
    read_json(systems_folder() / "alanine_dipeptide" / "checkpoint" / "model.json")["graph"]
)
#: amu
MASSES = {1: 1.008, 6: 12.011, 7: 14.007, 8: 15.999}


def peptide(atoms: int) -> MolecularGraph:
    """Return the first atoms of a long capped polyalanine."""
    # After the cap ten atoms of alanine again and again, bonded to the next as to the last cap.
    place = [i if i < 6 else 6 + (i - 6) % 10 for i in range(atoms)]
    numbers = [1 if i < 6 else 2 + (i - 6) // 10 for i in range(atoms)]
    residues = [DIPEPTIDE.residues[i] for i in place]
    short = [DIPEPTIDE.names[i].partition("-")[2] for i in place]
    first = [pair for pair in DIPEPTIDE.bonds if pair[0] < 6]
    repeated = [pair for pair in DIPEPTIDE.bonds if pair[0] >= 6 and pair[1] <= 16]
    bonds = first + [(i + k, j + k) for k in range(0, atoms, 10) for i, j in repeated]
    return MolecularGraph(
        tuple(DIPEPTIDE.elements[i] for i in place),
        tuple(residues),
        tuple(f"{r}{k}-{name}" for r, k, name in zip(residues, numbers, short, strict=True)),
        tuple(pair for pair in bonds if max(pair) < atoms),
    )


def places(graph: MolecularGraph) -> np.ndarray:
    """Return positions, (atoms, 3) in nm, as dense as in folded proteins.

    Residues follow each other on a boustrophedon that fills a cube, the atoms of each around its
    middle, so that atoms have as many neighbours as there.
    """
    # Names of atoms begin with that of their residue, and those of a residue stand together.
    counts = [len(list(atoms)) for _, atoms in groupby(graph.names, _residue)]
    steps = np.arange(len(counts))
    # 0.125 nm³ a residue, as in proteins, point after point on a cube's boustrophedon.
    width = int(np.ceil(len(steps) ** (1 / 3)))
    k, rest = steps // width**2, steps % width**2
    j, i = rest // width, rest % width
    j = np.where(k % 2, width - 1 - j, j)
    i = np.where((j + k) % 2, width - 1 - i, i)
    middles = 0.5 * np.stack([i, j, k], axis=1)
    rng = np.random.default_rng(0)
    found = [
        middle + 0.12 * rng.standard_normal((count, 3))
        for middle, count in zip(middles, counts, strict=True)
    ]
    return np.concatenate(found).astype(np.float32)


def _residue(name: str) -> str:
    return name.partition("-")[0]
