"""The least change of an ensemble that gives observables the means of an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from molflow.analysis.files.ensemble import read_ensemble
from molflow.analysis.files.own_files import check_own_file
from molflow.analysis.files.weight_files import read_log_weights
from molflow.analysis.weighting import LEAST_EFFECTIVE, effective_size, normalised
from molflow.errors import MolflowError
from molflow.exact.observables import observable
from molflow.files import write_arrays

#: What the new weights are, and what they are not.
STATEMENT = (
    "the ensemble nearest to the given one (by relative entropy) with these means; a conformation "
    "that it lacks stays lacking"
)


@dataclass(frozen=True)
class Multipliers:
    """Lagrange multipliers of means, and what they do.

    Attributes
    ----------
    values : ndarray, (k,)
        λ: weights become w exp(-Σ λ f), one over the unit of the observable.
    log_weights : ndarray, (n,)
    means : ndarray, (k,)
        With the new weights.
    relative_entropy : float
        Σ w' ln(w'/w), nats.
    """

    values: np.ndarray
    log_weights: np.ndarray
    means: np.ndarray
    relative_entropy: float


def multipliers(
    observed: np.ndarray, wanted: np.ndarray, errors: np.ndarray, log_weights: np.ndarray
) -> Multipliers:
    r"""Find weights w' ∝ w exp(−Σ λ_k f_k) of least relative entropy with given means.

    λ minimises the convex function

        Γ(λ) = ln Σ_i w_i exp(−Σ_k λ_k (f_k(x_i) − F_k)) + ½ Σ_k σ_k² λ_k²

    (Cesari, Gil-Ley and Bussi, J. Chem. Theory Comput. 12, 6192 (2016)), at whose minimum
    ⟨f_k⟩ = F_k + σ_k² λ_k: exactly the mean wanted where its error is zero, between it and the
    ensemble's own otherwise.

    Parameters
    ----------
    observed : ndarray, (n, k)
    wanted, errors : ndarray, (k,)
        F and σ ≥ 0.
    log_weights : ndarray, (n,)

    Raises
    ------
    MolflowError
        If no weights of these conformations have such means, or next to none.
    """
    weights = normalised(log_weights)
    own = weights @ observed
    scale = np.sqrt(np.maximum(weights @ (observed - own) ** 2, 1e-300))
    values, target, noise = (observed - own) / scale, (wanted - own) / scale, errors / scale

    def gamma(x: np.ndarray) -> tuple[float, np.ndarray]:
        exponents = -(values - target) @ x
        top = exponents.max()
        parts = weights * np.exp(exponents - top)
        total = parts.sum()
        mean = parts @ (values - target) / total
        return top + np.log(total) + 0.5 * np.sum((noise * x) ** 2), noise**2 * x - mean

    found = minimize(
        gamma, np.zeros(len(target)), jac=True, method="BFGS", options={"gtol": 1e-9}
    )
    moved = log_weights - (values - target) @ found.x
    new = normalised(moved)
    missed = np.abs(new @ values - target - noise**2 * found.x)
    if missed.max() > 1e-4 or effective_size(len(new), new) < LEAST_EFFECTIVE:
        raise MolflowError(
            "next to none of the conformations have what is asked for: the weights that come "
            f"nearest are worth {effective_size(len(new), new):.1f} of {len(new)}. Give the values "
            "their errors, or draw conformations that have them (molflow sample --reward)."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(new > 0, new * np.log(new / weights), 0.0)
    return Multipliers(found.x / scale, moved, new @ observed, float(terms.sum()))


def restrain(
    ensemble,
    means: Mapping[str, float | Sequence[float]],
    out: str | Path | None = None,
    *,
    weights: str | Path | np.ndarray | None = None,
    top: str | Path | None = None,
) -> dict:
    """Weigh an ensemble so that observables have means that an experiment found.

    Parameters
    ----------
    ensemble : path or mdtraj.Trajectory
        As for `molflow.compare`; weights that it brings are kept.
    means : dict of str to float or (float, float)
        By observable (`molflow.exact.observables.observable`) the mean, and its standard error,
        zero where it is to be met exactly. Of ``noe:ATOM,ATOM`` the distance ⟨r⁻⁶⟩^(-1/6) in nm.
    out : path, optional
        ``.npz`` with ``log_weights``, which `molflow.compare` and `molflow.resample` take.
    weights, top
        As for `molflow.compare`.

    Returns
    -------
    dict
        ``log_weights`` (n,); ``observables`` with ``before``, ``after``, ``wanted``, ``error`` and
        ``multiplier`` of each; ``effective_before``, ``effective``, ``relative_entropy`` (nats) and
        ``statement``.

    Raises
    ------
    MolflowError
        If there is no such observable, no conformation has such values, or a file is unreadable.
    """
    if not means:
        raise MolflowError("means are empty: name an observable and its mean, coupling:1=7.")
    if out is not None and Path(out).suffix.lower() != ".npz":
        raise MolflowError(f"out is '{out}': weights are written as .npz.")
    if out is not None:
        check_own_file(Path(out), {"log_weights", "multipliers"})
    given = read_ensemble(ensemble, top)
    logarithms = given.log_weights
    if weights is not None:
        logarithms = read_log_weights(weights, given.n, "the ensemble")
    if logarithms is None:
        logarithms = np.zeros(given.n)
    asked = {name: _checked(name, value) for name, value in means.items()}
    functions = [observable(name, given.topology) for name in asked]
    seen = [[f(part) for f, _ in functions] for part in given.chunks(1000)]
    values = np.concatenate([np.stack(part, axis=1) for part in seen])
    if not np.isfinite(values).all():
        raise MolflowError(
            "an observable is not a number in some conformations: leave the broken ones out."
        )
    wanted, errors = (np.array([_internal(name, *asked[name])[k] for name in asked])
                      for k in (0, 1))  # fmt: skip
    shares = normalised(logarithms)
    for k, name in enumerate(asked):
        low, high = values[shares > 0, k].min(), values[shares > 0, k].max()
        if errors[k] == 0 and not low < wanted[k] < high:
            low, high = sorted((_external(name, low), _external(name, high)))
            raise MolflowError(
                f"the mean of {name} is to be {asked[name][0]:g}, and the conformations have "
                f"{low:.4g} to {high:.4g}: give it an error, or draw conformations that have it."
            )
    found = multipliers(values, wanted, errors, logarithms)
    if out is not None:
        write_arrays(Path(out), log_weights=found.log_weights, multipliers=found.values)
    return {
        "log_weights": found.log_weights,
        "observables": {
            name: {
                "before": _external(name, float(shares @ values[:, k])),
                "after": _external(name, float(found.means[k])),
                "wanted": asked[name][0],
                "error": asked[name][1],
                "multiplier": float(found.values[k]),
                "unit": "nm" if name.startswith("noe:") else functions[k][1],
            }
            for k, name in enumerate(asked)
        },
        "n": given.n,
        "effective_before": effective_size(given.n, shares),
        "effective": effective_size(given.n, normalised(found.log_weights)),
        "relative_entropy": found.relative_entropy,
        "statement": STATEMENT,
    }


def format_restrained(result: dict) -> str:
    """Return what the command line says of an ensemble with given means."""
    lines = []
    for name, row in result["observables"].items():
        unit = f" {row['unit']}" if row["unit"] else ""
        wanted = f"{row['wanted']:g}" + (f" ± {row['error']:g}" if row["error"] else "")
        lines.append(f"{name}: {row['before']:.4g} → {row['after']:.4g}{unit}, wanted {wanted}")
    lines.append(
        f"worth {result['effective']:,.0f} conformations of {result['n']:,} "
        f"({result['effective_before']:,.0f} before); relative entropy "
        f"{result['relative_entropy']:.3g} nats. It is {result['statement']}."
    )
    return "\n".join(lines)


def _checked(name: str, value) -> tuple[float, float]:
    mean, error = value if isinstance(value, Sequence) else (value, 0.0)
    mean, error = float(mean), float(error)
    positive = mean > 0 or not name.startswith("noe:")
    if not (np.isfinite(mean) and positive and 0.0 <= error < np.inf):
        raise MolflowError(
            f"the mean of {name} is {mean:g} ± {error:g}: give a finite number (of a NOE above "
            "zero) and an error that is not negative."
        )
    return mean, error


def _internal(name: str, mean: float, error: float) -> tuple[float, float]:
    """Return a mean and its error as the observable has them."""
    if name.startswith("noe:"):
        return mean**-6, 6 * mean**-7 * error
    return mean, error


def _external(name: str, value: float) -> float:
    return value ** (-1 / 6) if name.startswith("noe:") else value
