"""Programs of AmberTools: tleap, antechamber and parmchk2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from molflow.errors import MolflowError


def run_ambertools(program: str, arguments: list[str], folder: Path, seconds: float = 3600) -> str:
    """Run a program of AmberTools in a folder and return what it printed.

    Raises
    ------
    MolflowError
        If it is not installed, fails or takes too long.
    """
    beside = Path(sys.executable).with_name(program)
    path = str(beside) if beside.is_file() else shutil.which(program)
    if path is None:
        raise MolflowError(
            f"this needs {program} of AmberTools, which is not installed: "
            "pip install molflow[molecules], or conda install ambertools."
        )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [path, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
            timeout=seconds, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MolflowError(
            f"{program} took more than {seconds / 60:.0f} minutes: the molecule is too large for "
            "it; give parameters of your own."
        ) from error
    output = done.stdout + done.stderr
    if done.returncode:
        raise MolflowError(f"{program} failed: {telling_line(output)}.")
    return output


def telling_line(output: str) -> str:
    """Return the line of a program's output that says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    marked = [line for line in lines if any(
        word in line.lower() for word in ("error", "fatal", "cannot", "odd number"))]  # fmt: skip
    chosen = (marked or lines or ["it said nothing"])[0]
    return chosen.rstrip(".!")[:300]
