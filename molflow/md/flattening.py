"""Which torsions a bias flattens, and how it is built: what ``--flatten phi,psi`` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molflow.analysis.torsion_list import Torsion, torsion_list
from molflow.errors import MolflowError
from molflow.md.bias import MOST_TERMS
from molflow.systems import MolecularSystem


@dataclass(frozen=True)
class FlatteningPlan:
    """How metadynamics builds a bias, and what of it is kept.

    Attributes
    ----------
    terms : tuple
        Of every term of the bias its torsions, one or two, four 0-based atoms each.
    cap : float
        kJ/mol; free energy above the lowest point up to which the landscape is flattened.
    contrast : float
        The bias is -(1 - 1/contrast) times the free energy, so that what remains of it is divided
        by the contrast, and the deep wells keep more frames than they would in a flat landscape.
        As it stands for one term; `molflow.md.plan` gives several terms less each.
    frames, frame_interval, segment_frames
        Gaussians that are deposited, ps between them, and how many between checkpoints.
    height, width : float
        Of the first Gaussian, kJ/mol and rad.
    bias_factor : float
        Of the well-tempered metadynamics.
    grid : int
        Points of the tables in each torsion.
    """

    terms: tuple[tuple[tuple[int, int, int, int], ...], ...]
    cap: float
    frames: int
    contrast: float = 8.0
    frame_interval: float = 0.5
    segment_frames: int = 100
    height: float = 1.5
    width: float = 0.3
    bias_factor: float = 10.0
    grid: int = 48

    @property
    def torsions(self) -> tuple[tuple[int, int, int, int], ...]:
        """The torsions of all terms, each once."""
        return tuple(dict.fromkeys(torsion for term in self.terms for torsion in term))


def parse_flatten(
    system: MolecularSystem, flatten: str | Sequence[str]
) -> tuple[tuple[tuple[int, int, int, int], ...], ...]:
    """Return the atoms of the torsions of every term of a bias.

    Parameters
    ----------
    system : MolecularSystem
    flatten : str or sequence of str
        A term each: one or two torsions with a comma between, such as ``"phi,psi"``. A torsion
        is ``phi``, ``psi``, ``chi1`` ..., ``bond`` (about a rotatable bond outside peptides), with
        a number where there are several (``phi2`` is the second phi, ``chi1:3`` the third chi1,
        ``bond:2`` the second rotatable bond), or four 0-based atoms, ``4-6-8-14``.

    Raises
    ------
    MolflowError
        If a torsion is not one of the molecule, or a term has more than two.
    """
    texts = [flatten] if isinstance(flatten, str) else list(flatten)
    if not 1 <= len(texts) <= MOST_TERMS:
        raise MolflowError(f"flatten has {len(texts)} terms: give 1 to {MOST_TERMS}.")
    known = torsion_list(system.topology())
    terms: list[tuple[tuple[int, int, int, int], ...]] = []
    for text in texts:
        words = [word.strip() for word in str(text).split(",")]
        term = tuple(_torsion(system, known, word) for word in words)
        if len(term) > 2 or len(set(term)) < len(term):
            raise MolflowError(
                f"flatten is '{text}': a term has one torsion or two different ones; give several "
                "terms for more."
            )
        terms.append(term)
    return tuple(terms)


def names_of(system: MolecularSystem, plan: FlatteningPlan) -> list[str]:
    """Return the names of the torsions of a bias: those of `torsion_list`, or their atoms."""
    known = {torsion.atoms: torsion.of_angle for torsion in torsion_list(system.topology())}
    return [known.get(atoms, "-".join(map(str, atoms))) for atoms in plan.torsions]


def _torsion(
    system: MolecularSystem, known: list[Torsion], word: str
) -> tuple[int, int, int, int]:
    parts = word.split("-")
    if len(parts) == 4 and all(part.isdecimal() for part in parts):
        a, b, c, d = (int(part) for part in parts)
        if len({a, b, c, d}) < 4 or max(a, b, c, d) >= system.topology().n_atoms:
            raise MolflowError(
                f"flatten names the torsion '{word}': give four different atoms of the "
                f"{system.topology().n_atoms} of '{system.name}', counted from 0."
            )
        return a, b, c, d
    names: dict[str, tuple[int, int, int, int]] = {}
    for kind in dict.fromkeys(torsion.kind for torsion in known):
        found = [torsion.atoms for torsion in known if torsion.kind == kind]
        if len(found) == 1:
            names[kind] = found[0]
        mark = "" if kind in ("phi", "psi") else ":"
        names |= {f"{kind}{mark}{place}": atoms for place, atoms in enumerate(found, 1)}
    if word not in names:
        raise MolflowError(
            f"flatten names the torsion '{word}', but '{system.name}' has "
            f"{', '.join(names) or 'none with a name'}: choose from those, or give four atoms such "
            "as 4-6-8-14."
        )
    return names[word]
