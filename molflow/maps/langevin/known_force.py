"""Forces that a map of dynamics knows by formula: those of a force field, or fitted ones."""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import nn

from molflow.analysis.statistics import evenly_spaced
from molflow.bonded_terms import BondedTerms
from molflow.data.dataset import ForceData
from molflow.maps.langevin.bonded_force import BondedForce
from molflow.nn.graph import MolecularGraph
from molflow.valence.fit import fit_valence
from molflow.valence.force import ValenceForce
from molflow.valence.formula import ValenceFormula

#: Frames that a valence formula is fitted to at most; it has some hundreds of coefficients.
_FITTED = 4000


def known_formula(
    forces: ForceData, graph: MolecularGraph, wanted: bool | Literal["fitted"]
) -> BondedTerms | ValenceFormula | None:
    """Return what a map knows of the forces of a training set.

    Parameters
    ----------
    forces : ForceData
    graph : MolecularGraph
        Gives the bonds of a formula that is fitted.
    wanted : bool or "fitted"
        Whether the map is to know the bonded terms that the training set names, if any, or a
        formula that is fitted to frames at the temperature of the system and to hotter ones.
    """
    if wanted != "fitted":
        return forces.bonded if wanted and forces.bonded else None
    x, f = (np.concatenate(pair) for pair in zip(forces.train, forces.hot, strict=True))
    chosen = evenly_spaced(len(x), _FITTED)
    return fit_valence(graph.elements, graph.bonds, x[chosen], f[chosen]).formula


def known_force(formula: BondedTerms | ValenceFormula, n_atoms: int) -> nn.Module:
    """Return the module that takes positions (batch, atoms, 3) in nm to forces in kJ/mol/nm.

    Raises
    ------
    MolflowError
        If a term names an atom that is not there.
    """
    if isinstance(formula, ValenceFormula):
        return ValenceForce(formula, n_atoms)
    return BondedForce(formula, n_atoms)
