"""A static bias in torsions: tables on periodic grids, and the forces that OpenMM makes of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm

from molflow.errors import MolflowError
from molflow.files import read_arrays, reader, write_arrays

#: Terms of a bias; each has a group of OpenMM's 32 groups of forces to itself, from the last down.
MOST_TERMS = 8


def group_of(term: int) -> int:
    """Return the group of forces of a term of the bias."""
    return 31 - term


def _force(term: tuple[tuple[int, ...], ...], table: np.ndarray, group: int) -> openmm.Force:
    atoms = sorted({atom for torsion in term for atom in torsion})
    angles = [
        "dihedral(" + ",".join(f"p{atoms.index(atom) + 1}" for atom in torsion) + ")"
        for torsion in term
    ]
    force = openmm.CustomCompoundBondForce(len(atoms), f"bias({','.join(angles)})")
    force.addTabulatedFunction("bias", _spline(table))
    force.addBond(atoms, [])
    force.setForceGroup(group)
    force.setName("TorsionBias")
    return force


def _closed(table: np.ndarray) -> list[float]:
    """Return a table with its first rows repeated at the ends, the first torsion fastest."""
    return np.pad(table, [(0, 1)] * table.ndim, mode="wrap").ravel(order="F").tolist()


def _spline(table: np.ndarray):
    size = len(table) + 1
    if table.ndim == 1:
        return openmm.Continuous1DFunction(_closed(table), -np.pi, np.pi, True)
    ends = (-np.pi, np.pi) * 2
    return openmm.Continuous2DFunction(size, size, _closed(table), *ends, True)


class TorsionForces:
    """The forces of some terms, whose tables may be changed while a simulation runs.

    Parameters
    ----------
    terms : tuple
        Of every term its torsions, one or two, four atoms each.
    tables : sequence of ndarray
        kJ/mol, one axis of equal length for each torsion of the term, at -pi + 2 pi k / n.
    """

    def __init__(self, terms, tables):
        self.forces = [
            _force(term, table, group_of(index))
            for index, (term, table) in enumerate(zip(terms, tables, strict=True))
        ]

    def change(self, context: openmm.Context, tables) -> None:
        """Put other tables of the same sizes in a running simulation."""
        for force, table in zip(self.forces, tables, strict=True):
            ends = (-np.pi, np.pi) * table.ndim
            sizes = (len(table) + 1,) * table.ndim if table.ndim == 2 else ()
            force.getTabulatedFunction(0).setFunctionParameters(*sizes, _closed(table), *ends)
            force.updateParametersInContext(context)


@dataclass(frozen=True)
class TorsionBias:
    """A sum of functions of one or two torsions each.

    The functions are the periodic cubic splines through the tables, as OpenMM interpolates them.

    Attributes
    ----------
    terms : tuple
        Of every term its torsions, one or two, four 0-based atoms each.
    tables : tuple of ndarray
        kJ/mol, one axis of equal length for each torsion of the term, at -pi + 2 pi k / n.
    """

    terms: tuple[tuple[tuple[int, int, int, int], ...], ...]
    tables: tuple[np.ndarray, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of torsions and tables as hex."""
        result = hashlib.sha256(json.dumps(self.terms).encode())
        for table in self.tables:
            result.update(f"{table.shape}".encode() + np.ascontiguousarray(table).tobytes())
        return result.hexdigest()

    def forces(self) -> list[openmm.Force]:
        """Return a new force for every term, to be added to a system."""
        return TorsionForces(self.terms, self.tables).forces

    def energy(self, context: openmm.Context) -> float:
        """Return the bias at the positions of a context that has its forces, kJ/mol."""
        groups = {group_of(term) for term in range(len(self.terms))}
        return context.getState(energy=True, groups=groups).getPotentialEnergy()._value

    def save(self, path: str | Path) -> None:
        """Write the bias as ``.npz``: ``terms`` as JSON and ``table_0``, ``table_1``, ..."""
        write_arrays(
            path,
            terms=np.frombuffer(json.dumps(self.terms).encode(), dtype=np.uint8),
            **{f"table_{index}": table for index, table in enumerate(self.tables)},
        )


@reader
def load_bias(path: str | Path) -> TorsionBias:
    """Read a bias that `TorsionBias.save` wrote.

    Raises
    ------
    MolflowError
        If the file is missing, damaged or something else.
    """
    arrays = read_arrays(path)
    try:
        terms = json.loads(arrays["terms"].tobytes())
        tables = tuple(arrays[f"table_{index}"] for index in range(len(terms)))
    except (KeyError, ValueError) as error:
        raise MolflowError(f"'{path}' is not a bias in torsions: build it again.") from error
    return TorsionBias(
        tuple(tuple(tuple(torsion) for torsion in term) for term in terms), tables
    )
