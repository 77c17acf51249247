"""Weights from files and arrays."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from molflow.analysis.weighting import checked_log_weights
from molflow.errors import MolflowError
from molflow.files import read_arrays

_TEXT = (".txt", ".dat", ".csv")


def read_log_weights(source: str | Path | np.ndarray, n: int, of: str) -> np.ndarray:
    """Return the logarithms of weights, (n,) float64, up to a constant.

    Parameters
    ----------
    source : path or ndarray
        An ``.npz`` file with an array ``log_weights`` (natural logarithms) or ``weights``, an
        ``.npy`` file of weights, a text file (``.txt``, ``.dat`` or ``.csv``) with one weight a
        line, or an array of weights. Weights need not sum to 1.
    n : int
        Conformations.
    of : str
        What they are the weights of, for sentences.

    Raises
    ------
    MolflowError
        If a file cannot be read, or the weights are not of n conformations, negative, not finite or
        all in one conformation.
    """
    if isinstance(source, np.ndarray):
        return checked_log_weights(_logarithms(source, of, "the array"), n, of)
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        arrays = read_arrays(path)
        if "log_weights" in arrays:
            return checked_log_weights(_numbers(arrays["log_weights"], of), n, of)
        if "weights" not in arrays:
            raise MolflowError(
                f"'{path}' holds {', '.join(arrays) or 'nothing'}: weights of {of} are expected "
                "under the name log_weights (natural logarithms) or weights."
            )
        found = arrays["weights"]
    elif suffix == ".npy" or suffix in _TEXT:
        found = _read_plain(path)
    else:
        raise MolflowError(
            f"the weights of {of} are in '{path}': give an .npz file with log_weights or weights, "
            f"an .npy file, or a text file ({', '.join(_TEXT)}) with one weight a line."
        )
    return checked_log_weights(_logarithms(found, of, f"'{path}'"), n, of)


def _read_plain(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty file; its length is told below
            return np.loadtxt(path, dtype=np.float64, ndmin=1, comments=("#", "@"))
    except OSError as error:
        raise MolflowError(f"cannot read the weights '{path}' ({error.strerror}).") from error
    except Exception as error:  # numpy parses headers with Python's tokenizer
        raise MolflowError(
            f"'{path}' does not hold one weight for each conformation ({error})."
        ) from error


def _numbers(values: np.ndarray, of: str) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise MolflowError(f"the weights of {of} are {values.dtype}, not real numbers.")
    return values.astype(np.float64)


def _logarithms(values: np.ndarray, of: str, where: str) -> np.ndarray:
    weights = _numbers(np.asarray(values), of)
    if (weights < 0).any():
        raise MolflowError(
            f"{where} holds {int((weights < 0).sum())} negative weights of {of}, the first "
            f"{weights.ravel()[(weights < 0).ravel().argmax()]:g}: weights are not negative. If "
            "these are logarithms, store them as log_weights in an .npz file."
        )
    with np.errstate(divide="ignore"):
        return np.log(weights)
