"""Observables by name: functions of conformations whose means can be estimated over levels."""

from __future__ import annotations

from collections.abc import Callable

import mdtraj
import numpy as np

from molflow.analysis.observables import basin_marks
from molflow.analysis.torsions import phi_psi, phi_psi_indices
from molflow.errors import MolflowError

#: (trajectory) -> (n,) values.
Observable = Callable[[mdtraj.Trajectory], np.ndarray]
#: What names are made of.
EXAMPLES = "share:alpha_l, coupling:1 or distance:ACE1-C,NME3-N"
_BASINS = ("beta", "alpha_r", "alpha_l")


def observable(name: str, topology: mdtraj.Topology) -> tuple[Observable, str]:
    """Return a function and its unit.

    Parameters
    ----------
    name : str
        ``share:BASIN`` of beta, alpha_r or alpha_l; ``coupling:K``, the scalar coupling of HN and
        Hα over the K-th torsion phi by Karplus' equation (parameters of Vögeli et al. 2007, by
        mdtraj), Hz; ``distance:ATOM,ATOM`` of atoms such as ALA2-CB, nm; ``noe:ATOM,ATOM``, r⁻⁶ of
        such, nm⁻⁶; ``radius``, the radius of gyration, nm.
    topology : mdtraj.Topology

    Raises
    ------
    MolflowError
        If there is no such observable, or its values have a heavy tail at few calls.
    """
    kind, _, rest = name.partition(":")
    if kind == "energy":
        raise MolflowError(
            "the potential energy cannot be estimated over levels: at few network calls it has so "
            "heavy a tail (10^9 kT at one) that the variance of a correction is not known from any "
            "sample. Use molflow sample --steps 8, molflow refine, or molflow sample --weights."
        )
    if kind == "share":
        return _share(rest, topology), ""
    if kind == "coupling":
        return _coupling(rest, topology), "Hz"
    if kind == "distance":
        return _distance(rest, topology), "nm"
    if kind == "noe":
        distance = _distance(rest, topology)
        return lambda trajectory: distance(trajectory) ** -6, "nm⁻⁶"
    if name == "radius":
        return _radius(topology), "nm"
    raise MolflowError(f"there is no observable '{name}': write for example {EXAMPLES}.")


def _share(basin: str, topology: mdtraj.Topology) -> Observable:
    if basin not in _BASINS:
        raise MolflowError(f"there is no basin '{basin}': choose one of {', '.join(_BASINS)}.")
    phi_psi_indices(topology)  # a sentence of its own where basins have no name
    return lambda trajectory: basin_marks(phi_psi(trajectory))[basin].astype(float)


def _coupling(number: str, topology: mdtraj.Topology) -> Observable:
    single = mdtraj.Trajectory(np.zeros((1, topology.n_atoms, 3)), topology)
    count = len(mdtraj.compute_phi(single)[0])
    if not (number.isdigit() and 1 <= int(number) <= count):
        raise MolflowError(
            f"the coupling '{number}' is not there: the molecule has {count} torsions phi, counted "
            "from 1."
        )
    column = int(number) - 1
    return lambda trajectory: mdtraj.compute_J3_HN_HA(trajectory)[1][:, column].astype(float)


def _distance(pair: str, topology: mdtraj.Topology) -> Observable:
    names = {
        f"{atom.residue.name}{atom.residue.index + 1}-{atom.name}": atom.index
        for atom in topology.atoms
    }
    words = pair.split(",")
    unknown = [word for word in words if word not in names]
    if len(words) != 2 or unknown:
        raise MolflowError(
            f"the distance '{pair}' is not of two atoms of the molecule: give two names of "
            f"{', '.join(list(names)[:4])}, … with a comma between."
        )
    atoms = np.array([[names[word] for word in words]])
    return lambda trajectory: mdtraj.compute_distances(trajectory, atoms)[:, 0].astype(float)


def _radius(topology: mdtraj.Topology) -> Observable:
    masses = np.array([atom.element.mass for atom in topology.atoms])
    shares = masses / masses.sum()

    def radius(trajectory: mdtraj.Trajectory) -> np.ndarray:
        # mdtraj's compute_rg takes masses and measures from the centre of geometry all the same.
        x = trajectory.xyz.astype(np.float64)
        x = x - np.einsum("a,nax->nx", shares, x)[:, None]
        return np.sqrt(np.einsum("a,nax,nax->n", shares, x, x))

    return radius
