"""Molecules to turn with the mouse in a notebook; needs the optional py3Dmol."""

from __future__ import annotations

import tempfile
from pathlib import Path

import mdtraj
import numpy as np

from molflow.analysis.molecule.superposition import heavy_atoms
from molflow.errors import MolflowError


def pdb_text(trajectory: mdtraj.Trajectory) -> str:
    """Return frames as the text of a PDB file of several models."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.pdb"
        trajectory.save_pdb(str(path))
        return path.read_text(encoding="utf-8")


def view(trajectory: mdtraj.Trajectory, frames: int = 20, width: int = 480, height: int = 360):
    """Show conformations laid over each other as sticks.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
    frames : int
        Conformations at most, taken at even steps and superposed on the first by heavy atoms.
    width, height : int
        Pixels.

    Returns
    -------
    py3Dmol.view
        Shown by a notebook as the value of a cell.

    Raises
    ------
    MolflowError
        If py3Dmol is not installed, or there is nothing finite to show.
    """
    try:
        import py3Dmol
    except ModuleNotFoundError as error:
        raise MolflowError(
            "structures are shown by py3Dmol, which is not installed: "
            "pip install 'molflow[notebook]'."
        ) from error
    finite = trajectory[np.isfinite(trajectory.xyz).all(axis=(1, 2))]
    if finite.n_frames == 0:
        raise MolflowError("no conformation is finite: there is nothing to show.")
    shown = finite[:: -(-finite.n_frames // frames)]
    shown = shown.superpose(shown, 0, atom_indices=heavy_atoms(shown.topology))
    scene = py3Dmol.view(width=width, height=height)
    scene.addModels(pdb_text(shown), "pdb")
    scene.setStyle({"stick": {"radius": 0.08, "opacity": 1.0 if shown.n_frames == 1 else 0.7}})
    scene.zoomTo()
    return scene
