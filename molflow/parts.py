"""Long work kept in parts beside its file until it is finished, so that it can be resumed."""

from __future__ import annotations

import shutil
from pathlib import Path

from molflow.files import read_json, sha256_of, writable_folder, write_json


def claim_parts(out: Path, plan: dict) -> Path:
    """Return the folder of finished parts; one that belongs to another request is emptied.

    Parameters
    ----------
    out : Path
        The file that the parts are for.
    plan : dict
        What was asked for, JSON-safe: parts of the same plan are kept.
    """
    parts = out.with_name(f".{out.name}.parts")
    if parts.exists() and (
        not (parts / "plan.json").exists() or read_json(parts / "plan.json") != plan
    ):
        shutil.rmtree(parts)
    writable_folder(parts)
    write_json(parts / "plan.json", plan)
    return parts


def finished(out: Path, plan: dict) -> bool:
    """Return whether the file is there, whole, and what the same request once gave."""
    sidecar = out.with_suffix(".json")
    if not (out.is_file() and sidecar.is_file()):
        return False
    stored = read_json(sidecar)
    if not isinstance(stored, dict) or stored.get("plan") != plan:
        return False
    return stored.get("trajectory_sha256") == sha256_of(out)
