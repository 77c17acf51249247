"""From samples under periodic umbrella biases to the unbiased distribution of an angle.

The multistate Bennett acceptance ratio (Shirts and Chodera, J. Chem. Phys. 129, 124105, 2008)
by pymbar, and a bootstrap over independent chains.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from molflow.errors import MolflowError

#: The alpha-L region of phi in radians.
ALPHA_L = (0.0, 2.0)


@dataclass(frozen=True)
class BiasedChain:
    """One independent chain in one window: phi (n,) and psi (n,) in radians."""

    window: int
    phi: np.ndarray
    psi: np.ndarray


def reduced_bias(phi: np.ndarray, centres: np.ndarray, force_constant: float) -> np.ndarray:
    """Return k d(phi, centre)^2 / 2 with the periodic distance d, shape (n_windows, n).

    `force_constant` is in units of kT per squared radian.
    """
    distance = np.abs(np.asarray(phi)[None, :] - np.asarray(centres)[:, None])
    distance = np.minimum(distance, 2 * np.pi - distance)
    return 0.5 * force_constant * distance**2


def _hush_pymbar() -> None:
    """Silence what pymbar says on import: advice to install jax, and how to read a time series."""
    logging.getLogger("pymbar").setLevel(logging.ERROR)


def statistical_inefficiency(*angles: np.ndarray) -> float:
    """Return the largest statistical inefficiency, in frames, of cos and sin of the angles."""
    _hush_pymbar()
    from pymbar import timeseries

    series = [function(angle) for angle in angles for function in (np.cos, np.sin)]
    values = [timeseries.statistical_inefficiency(s) for s in series if np.ptp(s) > 0]
    return float(max(values, default=len(angles[0])))


def _mbar(chains, centres, force_constant, initial=None):
    _hush_pymbar()
    from pymbar import MBAR

    ordered = sorted(chains, key=lambda chain: chain.window)
    counts = np.zeros(len(centres) + 1, dtype=int)
    for chain in ordered:
        counts[chain.window] += len(chain.phi)
    phi = np.concatenate([chain.phi for chain in ordered])
    # The last state is the unbiased one; no sample was drawn from it.
    reduced = np.vstack([reduced_bias(phi, centres, force_constant), np.zeros(len(phi))])
    return MBAR(reduced, counts, initial_f_k=initial), phi


def unbiased_weights(
    chains: list[BiasedChain], centres: np.ndarray, force_constant: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return all phi and their normalised unbiased weights, both of shape (n,)."""
    mbar, phi = _mbar(chains, centres, force_constant)
    return phi, mbar.weights()[:, -1]


def _delta_f(phi, weights):
    share = weights[(phi > ALPHA_L[0]) & (phi < ALPHA_L[1])].sum() / weights.sum()
    return float(-np.log(share / (1 - share)))


def delta_f_alpha_l(
    chains: list[BiasedChain],
    centres: np.ndarray,
    force_constant: float,
    rng: np.random.Generator,
    bootstrap: int = 100,
    bins: int = 72,
) -> dict:
    """Return the free energy of alpha-L, -ln[P(0 < phi < 2) / P(rest)], and the PMF of phi.

    Parameters
    ----------
    chains : list of BiasedChain
        At least two in every window, started independently.
    centres : array, shape (n_windows,)
        Radians.
    force_constant : float
        kT per squared radian.
    rng : numpy.random.Generator
        For the bootstrap.
    bootstrap : int
        Number of resamplings of whole chains within their windows.
    bins : int
        Bins of the PMF on [-pi, pi].

    Returns
    -------
    dict
        ``value`` (kT) from all frames; ``mbar_error`` from pymbar on decorrelated frames;
        ``bootstrap_error``, with its variance multiplied by n / (n - 1) because n chains a
        window are few; ``error``, the larger of the two; ``interval``, value +- 1.96 error;
        ``by_chain``, the value from the first, second, ... chain of every window alone, which
        shows whether the hidden angle was sampled; ``pmf`` (kT, None for empty bins), ``edges``.

    Raises
    ------
    MolflowError
        If a window has fewer than two chains, or the windows have different numbers.
    """
    by_window = [[c for c in chains if c.window == k] for k in range(len(centres))]
    numbers = {len(group) for group in by_window}
    if len(numbers) != 1 or min(numbers) < 2:
        raise MolflowError(
            f"the windows have {sorted(numbers)} chains: every window needs the same number of "
            "chains, at least 2, or the interval cannot be estimated."
        )
    per_window = numbers.pop()
    mbar, phi = _mbar(chains, centres, force_constant)
    weights, start = mbar.weights()[:, -1], mbar.f_k
    value = _delta_f(phi, weights)

    thinned = []
    for chain in chains:
        stride = int(np.ceil(statistical_inefficiency(chain.phi, chain.psi)))
        thinned.append(BiasedChain(chain.window, chain.phi[::stride], chain.psi[::stride]))
    sparse, sparse_phi = _mbar(thinned, centres, force_constant, start)
    inside = (sparse_phi > ALPHA_L[0]) & (sparse_phi < ALPHA_L[1])
    # One is added because pymbar takes the logarithm of the observable.
    share = sparse.compute_expectations(1.0 + inside, state_dependent=False)
    mean, sigma = share["mu"][-1] - 1.0, share["sigma"][-1]

    draws = []
    for _ in range(bootstrap):
        picked = [
            group[i] for group in by_window for i in rng.integers(per_window, size=per_window)
        ]
        resampled, its_phi = _mbar(picked, centres, force_constant, start)
        draws.append(_delta_f(its_phi, resampled.weights()[:, -1]))
    spread = float(np.std(draws, ddof=1) * np.sqrt(per_window / (per_window - 1)))

    by_chain = []
    for index in range(per_window):
        alone, its_phi = _mbar([g[index] for g in by_window], centres, force_constant, start)
        by_chain.append(_delta_f(its_phi, alone.weights()[:, -1]))
    mbar_error = float(sigma / (mean * (1 - mean)))
    error = max(mbar_error, spread)
    density, edges = np.histogram(phi, bins, range=(-np.pi, np.pi), weights=weights)
    pmf = [float(-np.log(d)) if d > 0 else None for d in density]
    lowest = min(f for f in pmf if f is not None)
    return {
        "value": value,
        "mbar_error": mbar_error,
        "bootstrap_error": spread,
        "error": error,
        "interval": [value - 1.96 * error, value + 1.96 * error],
        "by_chain": by_chain,
        "decorrelated_frames": sum(len(chain.phi) for chain in thinned),
        "pmf": [None if f is None else f - lowest for f in pmf],
        "edges": edges.tolist(),
    }
