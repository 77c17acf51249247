"""OpenMM's platforms by name, with the device and the precision where they have a choice."""

from __future__ import annotations

from pathlib import Path

import openmm

from molflow.errors import MolflowError
from molflow.workers import visible_gpus

#: What OpenMM calls them, of platforms that have several.
_DEVICE, _PRECISION = "DeviceIndex", "Precision"
_PRECISIONS = "single", "mixed", "double"


def find_platform(text: str) -> tuple[openmm.Platform, dict[str, str]]:
    """Return the platform of a text, and the properties that a context on it is to have.

    Parameters
    ----------
    text : str
        ``"Reference"``, ``"CPU"``, ``"CUDA"``, ``"CUDA:1"`` for the second GPU,
        ``"CUDA:double"`` or ``"CUDA:1:double"`` for another precision than OpenMM's single. The
        CPU platform has one thread.

    Raises
    ------
    MolflowError
        If it is none of this OpenMM, or has no such choice.
    """
    name, *choices = text.split(":")
    numbers = range(openmm.Platform.getNumPlatforms())
    known = [openmm.Platform.getPlatform(index).getName() for index in numbers]
    if name not in known:
        raise MolflowError(f"platform is '{text}': this OpenMM has {', '.join(known)}.")
    platform = openmm.Platform.getPlatformByName(name)
    properties = {"Threads": "1"} if name == "CPU" else {}
    if not choices:
        return platform, properties
    if {_DEVICE, _PRECISION} - set(platform.getPropertyNames()):
        raise MolflowError(
            f"platform is '{text}', and {name} has neither devices nor precisions to choose from: "
            f"write {name}."
        )
    wanted: dict[str, str] = {}
    for choice in choices:
        kind = _DEVICE if choice.isdecimal() else _PRECISION
        if kind in wanted or (kind == _PRECISION and choice not in _PRECISIONS):
            raise MolflowError(
                f"platform is '{text}': after {name} write the number of a device, a precision "
                f"({', '.join(_PRECISIONS)}) or both, such as {name}:0:mixed."
            )
        wanted[kind] = choice
    return platform, properties | wanted


def gpus_to_share(text: str, root: Path = Path("/")) -> tuple[str, ...]:
    """Return the GPUs among which processes side by side on a platform are shared out.

    OpenMM itself would give each of them the same one.

    Parameters
    ----------
    text : str
        A platform, see `find_platform`; one with a device has nothing to share.
    root : Path
        Below which the NVIDIA driver's ``proc`` is.
    """
    name, *choices = text.split(":")
    if name != "CUDA" or any(choice.isdecimal() for choice in choices):
        return ()
    return visible_gpus(sum(1 for _ in (root / "proc/driver/nvidia/gpus").glob("*")))
