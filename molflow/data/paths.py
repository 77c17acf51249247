"""Paths under the true force that a training set may hold: what direct flow map matching reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molflow.data.dataset import TrainingData
from molflow.errors import MolflowError
from molflow.files import read_json, reader, sha256_of

#: Folder of the parts, and the file beside them that says what they are.
PATHS, PLAN = "paths", "plan.json"


@dataclass(frozen=True)
class PathPart:
    """Paths of one friction, in blocks of equal length.

    Attributes
    ----------
    friction : float
        1/ps.
    rows : ndarray, (paths,)
        A record each: ``states`` (blocks + 1, 2, atoms, 3), positions (nm) and velocities (nm/ps)
        at the ends of blocks, ``noise`` (blocks, atoms, 3, order + 1), the whitened features of the
        increments of blocks, float32, and ``hot``, whether it begins at a hot frame. Read from the
        disk when it is asked for.
    """

    friction: float
    rows: np.ndarray


@dataclass(frozen=True)
class PathData:
    """All paths of a training set.

    Attributes
    ----------
    order : int
        Legendre coefficients of an increment; one exponential feature, of the friction, comes last.
    block : float
        Length of a block, ps.
    train, validation : tuple of PathPart
        From training frames and hot ones, and from validation frames.
    name : str
        Hash of all of them.
    """

    order: int
    block: float
    train: tuple[PathPart, ...]
    validation: tuple[PathPart, ...]
    name: str

    @property
    def blocks(self) -> int:
        """Blocks of a path."""
        return self.train[0].rows.dtype["noise"].shape[0]

    def check_use(self, order: int) -> None:
        """Raise `MolflowError` unless increments have the order that a map takes."""
        if order != self.order:
            raise MolflowError(
                f"map.order is {order}, and the paths of the training set have {self.order} "
                f"coefficients: train with map.order={self.order}, or make other paths."
            )


def record_type(atoms: int, blocks: int, order: int) -> np.dtype:
    """Return the type of the record of a path."""
    return np.dtype([
        ("states", np.float32, (blocks + 1, 2, atoms, 3)),
        ("noise", np.float32, (blocks, atoms, 3, order + 1)),
        ("hot", np.bool_),
    ])  # fmt: skip


@reader
def load_paths(data: TrainingData) -> PathData:
    """Read and check the paths that belong to a training set.

    Raises
    ------
    MolflowError
        If there are none, or they are damaged or of other frames.
    """
    stored, folder = data.manifest.get("paths"), data.folder / PATHS
    if stored is None:
        raise MolflowError(
            f"the training set '{data.folder}' has no paths under the true force, which "
            "objective.direct_share learns from: make it again with molflow prepare --forces "
            "--paths 20000, or set objective.direct_share to 0."
        )
    plan = read_json(folder / PLAN)
    if plan["data_hash"] != data.manifest["data_hash"]:
        raise MolflowError(f"the paths in '{folder}' are of other frames: make them again.")
    found: dict[str, list[PathPart]] = {"train": [], "validation": []}
    for name, digest in stored["sha256"].items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != digest:
            raise MolflowError(
                f"'{path}' is missing or not the file that the manifest speaks of: make the paths "
                "again with molflow prepare --forces --paths."
            )
        part = plan["parts"][name]
        found[part["set"]].append(PathPart(part["friction"], np.load(path, mmap_mode="r")))
    order, block = plan["order"], plan["block_ps"]
    train, validation = tuple(found["train"]), tuple(found["validation"])
    return PathData(order, block, train, validation, stored["name"])


def part_file(folder: Path, name: str) -> Path:
    """Return where a part of the paths of a training set is."""
    return folder / PATHS / name
