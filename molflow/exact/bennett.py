"""Bennett's acceptance ratio with weights on either side, and what both sides say together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logsumexp


@dataclass(frozen=True)
class Ratio:
    """ln(Z/P) of a target's integral to a proposal's, and the weights of both sides' samples.

    Attributes
    ----------
    value : float
    forward, backward : ndarray
        Weights, in all summing to 1, that make samples of both those of the target.
    overlap : float
        Between 0 (the sides never meet) and 1 (they are one law): ∫ p q / (ν_q q + ν_p p).
    """

    value: float
    forward: np.ndarray
    backward: np.ndarray
    overlap: float


def bennett(
    forward: np.ndarray,
    backward: np.ndarray,
    shares: np.ndarray | None = None,
) -> Ratio:
    r"""Solve Bennett's equation (1976) for Δ = ln(Z/P).

    With ln w the logarithm of the ratio of the target's to the proposal's density, both without
    their normalisation, and r = w exp(−Δ) that of the normalised ones,

        E_q[ r/(ν_q + ν_p r) ] = E_p[ 1/(ν_q + ν_p r) ],

    which holds for any numbers ν; they are those of effective samples, for which its variance is
    least. Samples of both sides then get the weights r/(ν_q + ν_p r) of their mixture (Shirts and
    Chodera 2008, eq. 13), which sum to 1 by that equation.

    Parameters
    ----------
    forward : ndarray, (n,)
        ln w of samples of the proposal; minus infinity for those of no weight.
    backward : ndarray, (m,)
        ln w of samples of the target, infinite where the proposal never goes.
    shares : ndarray, (n,), optional
        Of the samples of the proposal, in all 1; by default equal.
    """
    if shares is None:
        shares = np.full(len(forward), 1.0 / len(forward))
    n, m = 1.0 / np.sum(shares**2), float(len(backward))
    nu_q, nu_p = n / (n + m), m / (n + m)
    offset = np.log(nu_p / nu_q)
    # An infinite weight is the proposal's absence: such samples count for the target alone.
    seen = np.isfinite(forward)

    def excess(delta: float) -> float:
        # r/(ν_q + ν_p r) = expit(ln r + ln ν_p/ν_q)/ν_p, and 1/(ν_q + ν_p r) likewise.
        left = np.sum(shares[seen] * expit(forward[seen] - delta + offset)) / nu_p
        return left - np.mean(expit(delta - backward - offset)) / nu_q

    everything = np.concatenate([forward[seen], backward[np.isfinite(backward)]])
    low, high = everything.min() - 50.0, everything.max() + 50.0
    delta = float(brentq(excess, low, high, xtol=1e-10))
    ours = nu_q * shares * expit(forward - delta + offset) / nu_p
    theirs = expit(backward - delta + offset) / m
    overlap = float(np.mean(expit(delta - backward - offset)) / nu_q)
    return Ratio(delta, ours, theirs, overlap)


def one_sided(forward: np.ndarray, backward: np.ndarray, shares: np.ndarray) -> tuple:
    """Return ln(Z/P) by each side alone: ln E_q[w] and −ln E_p[1/w]."""
    ours = float(logsumexp(forward, b=shares)) if np.isfinite(forward).any() else -np.inf
    theirs = float(np.log(len(backward)) - logsumexp(-backward))
    return ours, theirs
