"""Samples of a map's law times exp(-E), E given by its value alone: particles on Brownian paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from molflow.analysis.weighting import systematic
from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.flow_map.base import FlowMap
from molflow.flow_map.centring import centre

#: States at the last time (n, atoms, 3) to their E/kT (n,), plus infinity where none may be.
Energy = Callable[[Tensor], np.ndarray]
#: Share of the particles that must count, or they are drawn anew.
LEAST = 0.5
#: Parts of the noise that a move replaces, one of them each time, at random; the first is all.
_PARTS = (1.0, 0.6, 0.3)


@dataclass(frozen=True)
class Particles:
    """Particles on their way along the jumps, each with the noise that it will be given.

    Attributes
    ----------
    x : Tensor, (n, atoms, 3)
        States at the time `at`.
    noise : Tensor, (n, atoms, 3, jumps left, features)
        Whitened features of the increments from there on.
    ends : Tensor, (n, atoms, 3)
        What one jump along the joined increments gives: the look ahead.
    energies : ndarray, (n,)
        E/kT of the ends.
    log_weights : ndarray, (n,)
    ancestors : ndarray, (n,)
        Number of the start that each comes from; a move that replaced all of one made another.
    """

    x: Tensor
    noise: Tensor
    ends: Tensor
    energies: np.ndarray
    log_weights: np.ndarray
    ancestors: np.ndarray

    def taken(self, rows: np.ndarray) -> Particles:
        """Return copies of some particles, all of the same weight."""
        index = torch.from_numpy(rows).to(self.x.device)
        x, noise, ends = (part[index] for part in (self.x, self.noise, self.ends))
        kept = self.energies[rows], np.zeros(len(rows)), self.ancestors[rows]
        return Particles(x, noise, ends, *kept)


@dataclass(frozen=True)
class Steered:
    """What came of one group of particles.

    Attributes
    ----------
    positions : Tensor, (n, atoms, 3)
    energies : ndarray, (n,)
        E/kT.
    log_weights : ndarray, (n,)
        With them the group represents the map's law times exp(-E), not normalised: their mean
        weight is an unbiased estimate of the mean of exp(-E) over the map's own samples.
    ancestors : ndarray, (n,)
        Number of the start that each comes from.
    acceptance : float
        Share of moves that were accepted.
    calls : int
        Of the network a particle.
    """

    positions: Tensor
    energies: np.ndarray
    log_weights: np.ndarray
    ancestors: np.ndarray
    acceptance: float
    calls: int


class Steering:
    r"""Sequential Monte Carlo with the map itself as its look ahead.

    A sample of K jumps is a function x_K(x_0, W) of Gaussian numbers, the start and the path. The
    law wanted, p(x_0) p(W) exp(−E(x_K)), is reached by laws in which the end is looked for by fewer
    jumps: with Φ_k = k jumps of the grid and then one along all of the path that is left,

        γ_{λ,k} ∝ p(x_0) p(W) exp(−λ E(Φ_k(x_0, W))),     k = 0 … K − 1,

    first λ from 0 to 1 by a ladder at k = 0, then k up to K − 1, where Φ_{K−1} = x_K. A strong map
    looks ahead rightly: Φ_k and Φ_{k+1} are nearly the same conformation, so that what was chosen
    at one call stays. From law to law particles are weighted, drawn anew where fewer than half
    of them count, and moved: z ← sqrt(1 − b²) z + b ξ of all the noise that is left, accepted with
    min(1, exp(−λ ΔE)). This leaves the Gaussian numbers' law as it is and is reversible
    whatever η is, which going back by noise and denoising would be at η = 1 alone.

    Parameters
    ----------
    flow_map : FlowMap
        From noise to data, on the basis of its equation.
    times : sequence of float
        Ends of the jumps.
    spread : float
        Standard deviation of the start.
    energy : callable
    moves : int
        Moves after each law.
    """

    def __init__(
        self, flow_map: FlowMap, times: Sequence[float], spread: float, energy: Energy, moves: int
    ):
        self.flow_map, self.spread = flow_map, spread
        self.times = torch.tensor([float(time) for time in times], dtype=torch.float64)
        self.energy, self.moves = energy, moves

    def ladder(self, n: int, atoms: int, generator: torch.Generator) -> list[float]:
        """Return λ from above 0 to 1 by a group of particles that is thrown away.

        Each is as large as leaves the weights worth half the particles. A ladder that is
        chosen by the particles which are then weighted would bias the weights' mean.
        """
        particles = self._start(n, atoms, generator)
        found = [0.0]
        while found[-1] < 1.0:
            found.append(next_rung(particles.energies, found[-1]))
            particles = self._weighted(particles, particles.energies, found[-2], found[-1])
            particles = particles.taken(_drawn(particles.log_weights, generator))
            for _ in range(self.moves):
                particles, _ = self._move(particles, 0, found[-1], generator)
        return found[1:]

    def run(
        self, n: int, atoms: int, ladder: Sequence[float], generator: torch.Generator
    ) -> Steered:
        """Return a group of n particles.

        Parameters
        ----------
        n, atoms : int
        ladder : sequence of float
            λ, increasing, the last 1.
        generator : torch.Generator
            On the processor.
        """
        particles, total, accepted, moved = self._start(n, atoms, generator), 0.0, 0.0, 0
        calls, last = 1, len(self.times) - 2
        laws = [(0, value) for value in ladder] + [(k, 1.0) for k in range(1, last + 1)]
        before = 0.0
        for k, value in laws:
            if k:
                particles, old = self._advanced(particles, k), particles.energies
                calls += 2
            else:
                old = particles.energies
            particles = self._weighted(particles, old, before, value)
            before = value
            if _share(particles.log_weights) < LEAST:
                total += log_mean(particles.log_weights)
                particles = particles.taken(_drawn(particles.log_weights, generator))
            for _ in range(self.moves):
                particles, share = self._move(particles, k, value, generator)
                accepted, moved, calls = accepted + share, moved + 1, calls + 1
        return Steered(
            particles.ends, particles.energies, particles.log_weights + total,
            particles.ancestors, accepted / max(moved, 1), calls,
        )  # fmt: skip

    def _start(self, n: int, atoms: int, generator: torch.Generator) -> Particles:
        x = self.spread * self._normal((n, atoms, 3), generator)
        jumps, size = len(self.times) - 1, self.flow_map.basis.size
        noise = self._noise((n, atoms, 3, jumps, size), generator)
        ends = self._look(x, noise, 0)
        zeros = np.zeros(n)
        return Particles(x, noise, ends, self.energy(ends), zeros, np.arange(n))

    def _advanced(self, particles: Particles, k: int) -> Particles:
        """Return the particles after the k-th jump, with a new look ahead."""
        noise = particles.noise
        x = self._jump(k - 1, k, particles.x, self._increment(k - 1, noise[..., 0, :]))
        left = noise[..., 1:, :]
        ends = self._look(x, left, k)
        return replace(particles, x=x, noise=left, ends=ends, energies=self.energy(ends))

    def _weighted(self, particles: Particles, old: np.ndarray, before: float, now: float):
        """Return the particles with weights from exp(-before old) to exp(-now energies)."""
        with np.errstate(invalid="ignore"):
            change = before * old - now * particles.energies
        change = np.where(np.isfinite(particles.energies), change, -np.inf)
        # What had no weight before has none now.
        change = np.where((before > 0) & ~np.isfinite(old), -np.inf, change)
        return replace(particles, log_weights=particles.log_weights + change)

    def _move(self, particles: Particles, k: int, factor: float, generator: torch.Generator):
        """Replace part of the noise that is left; at the start the state is noise too."""
        n = len(particles.energies)
        which = torch.randint(len(_PARTS), (n,), generator=generator)
        part = torch.tensor(_PARTS, dtype=particles.x.dtype)[which].to(particles.x.device)
        x, part = particles.x, part.reshape(-1, 1, 1)
        if k == 0:
            fresh = self.spread * self._normal(tuple(x.shape), generator)
            x = torch.sqrt(1.0 - part**2) * x + part * fresh
        fresh = self._noise(tuple(particles.noise.shape), generator)
        part = part[..., None, None]
        noise = torch.sqrt(1.0 - part**2) * particles.noise + part * fresh
        ends = self._look(x, noise, k)
        energies = self.energy(ends)
        lots = torch.rand(n, generator=generator, dtype=torch.float64).numpy()
        with np.errstate(invalid="ignore"):
            change = factor * (particles.energies - energies)
        change = np.where(np.isfinite(energies), change, -np.inf)
        taken = np.log(lots) < change
        yes = torch.from_numpy(taken).to(x.device)
        new = taken & (which.numpy() == 0) & (k == 0)
        others = particles.ancestors.max() + 1 + np.arange(n)
        kept = replace(
            particles,
            x=torch.where(yes.reshape(-1, 1, 1), x, particles.x),
            noise=torch.where(yes.reshape(-1, 1, 1, 1, 1), noise, particles.noise),
            ends=torch.where(yes.reshape(-1, 1, 1), ends, particles.ends),
            energies=np.where(taken, energies, particles.energies),
            ancestors=np.where(new, others, particles.ancestors),
        )
        return kept, float(taken.mean())

    def _look(self, x: Tensor, noise: Tensor, k: int) -> Tensor:
        parts = [self._increment(k + j, noise[..., j, :]) for j in range(noise.shape[-2])]
        return self._jump(k, len(self.times) - 1, x, reduce(join, parts))

    def _increment(self, k: int, z: Tensor) -> Increment:
        return Increment.from_whitened(self.flow_map.basis, self.times[k + 1] - self.times[k], z)

    def _jump(self, a: int, b: int, x: Tensor, increment: Increment) -> Tensor:
        s, t = (self.times[end].to(x.dtype).to(x.device).expand(len(x)) for end in (a, b))
        with torch.no_grad():
            return self.flow_map(s, t, x, increment)

    def _normal(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        example = next(self.flow_map.parameters())
        made = torch.randn(shape, generator=generator, dtype=example.dtype)
        return centre(made).to(example.device)

    def _noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        n, atoms, axes, jumps, size = shape
        made = self._normal((n * jumps * size, atoms, axes), generator)
        return made.unflatten(0, (n, jumps, size)).permute(0, 3, 4, 1, 2)


def next_rung(energies: np.ndarray, now: float) -> float:
    """Return λ at which weights exp(-(λ - now) E) are worth `LEAST` of them, at most 1."""

    def spare(factor: float) -> float:
        return _share(np.where(np.isfinite(energies), -(factor - now) * energies, -np.inf)) - LEAST

    if spare(1.0) >= 0.0:
        return 1.0
    least = now + 1e-6
    # Where infinite energies alone leave fewer, there is nothing to go slowly about.
    return 1.0 if spare(least) <= 0.0 else float(brentq(spare, least, 1.0, xtol=1e-6))


def log_mean(log_weights: np.ndarray) -> float:
    """Return the logarithm of the mean weight, minus infinity where there is none."""
    top = float(log_weights.max())
    return top + float(np.log(np.mean(np.exp(log_weights - top)))) if top > -np.inf else -np.inf


def _share(log_weights: np.ndarray) -> float:
    """Return the effective size over the number; 1 for no weights at all."""
    top = log_weights.max()
    if top == -np.inf:
        return 1.0
    weights = np.exp(log_weights - top)
    return float(weights.sum() ** 2 / np.sum(weights**2) / len(weights))


def _drawn(log_weights: np.ndarray, generator: torch.Generator) -> np.ndarray:
    if log_weights.max() == -np.inf:
        return np.arange(len(log_weights))  # their mean weight, zero, is remembered
    weights = np.exp(log_weights - log_weights.max())
    offset = float(torch.rand((), generator=generator, dtype=torch.float64))
    return systematic(weights / weights.sum(), len(weights), offset)
