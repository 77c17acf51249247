"""A user's energy of conformations, from a file of Python or a function."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from molflow.errors import MolflowError
from molflow.files import sha256_of

#: (mdtraj.Trajectory) -> (n,) kJ/mol, infinite where a conformation may not be.
Reward = Callable[..., np.ndarray]


def load_reward(text: str) -> tuple[Reward, dict]:
    """Return the function that ``FILE.py:FUNCTION`` names, and what identifies it.

    The file is run: give only one whose author you trust.

    Raises
    ------
    MolflowError
        If there is no such file or function, or running the file fails.
    """
    place, _, name = text.rpartition(":")
    path = Path(place)
    if not place or path.suffix != ".py":
        raise MolflowError(
            f"the reward is '{text}': write FILE.py:FUNCTION, a function of an mdtraj.Trajectory "
            "that returns energies in kJ/mol, one a frame."
        )
    if not path.is_file():
        raise MolflowError(f"the reward '{text}' names the file '{path}', which is not there.")
    spec = importlib.util.spec_from_file_location("molflow_reward", path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's code raises
        raise MolflowError(f"running '{path}' failed: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise MolflowError(f"'{path}' has no function '{name}'.")
    return found, {"function": name, "file": path.name, "sha256": sha256_of(path)}


def energies_by(reward: Reward, trajectory) -> np.ndarray:
    """Return what a reward says of conformations, (n,) float64, kJ/mol.

    Raises
    ------
    MolflowError
        If it fails, or does not return one number a frame, finite or plus infinity.
    """
    try:
        found = np.asarray(reward(trajectory), dtype=np.float64)
    except Exception as error:  # whatever the user's code raises
        raise MolflowError(
            f"the reward failed on {trajectory.n_frames} conformations: "
            f"{type(error).__name__}: {error}"
        ) from error
    if found.shape != (trajectory.n_frames,):
        raise MolflowError(
            f"the reward returned the shape {found.shape} for {trajectory.n_frames} conformations: "
            "return one energy in kJ/mol for each."
        )
    wrong = np.isnan(found) | (found == -np.inf)
    if wrong.any():
        raise MolflowError(
            f"the reward of {int(wrong.sum())} of {len(found)} conformations is not a number or "
            "minus infinity: return finite energies in kJ/mol, or plus infinity for what may not "
            "be. A map in one call gives broken molecules now and then: allow for them."
        )
    return found
