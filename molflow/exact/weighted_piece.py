"""Conformations with their weights: flow, Jacobian and last step by physics, a piece at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch

from molflow.exact.annealing import Annealed, Schedule, anneal
from molflow.exact.density import Arrival, arrive, log_normal
from molflow.exact.laplace import laplace
from molflow.exact.physics import BoltzmannLaw
from molflow.exact.strata import denoised
from molflow.maps.denoiser.draw import BLOCK, start_positions, start_variance
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.maps.denoiser.probability_flow import ProbabilityFlow, flow_times, without_paths
from molflow.maps.denoiser.tangent_mean import TangentMean
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem
from molflow.training.checkpoint import Checkpoint

#: Samples of a piece; a block of starts is a whole number of pieces.
PIECE = 16
#: Pairs of atoms, over samples and directions, that are held at once.
_PAIRS = 120_000
#: Of the differences that give curvatures, in units of the noise that is left.
_DIFFERENCE = 0.01


@dataclass(frozen=True)
class Wanted:
    """What is asked of every weighted sample.

    Attributes
    ----------
    system : MolecularSystem
    steps : int
        Jumps of the flow.
    stop : float or None
        σ at which the flow ends and physics takes over, in units of the data; None where the flow
        goes to its end.
    path_seed : int
    schedule : Schedule
        Of the annealing.
    recorded, compiled : bool
        How derivatives are computed, see `TangentMean`.
    """

    system: MolecularSystem
    steps: int
    stop: float | None
    path_seed: int
    schedule: Schedule
    recorded: bool = False
    compiled: bool = False


class WeightedPieces:
    """One process's flow and force field.

    Parameters
    ----------
    checkpoint : Checkpoint
    wanted : Wanted
    """

    def __init__(self, checkpoint: Checkpoint, wanted: Wanted):
        self.checkpoint, self.wanted = checkpoint, wanted
        self.flow_map = without_paths(cast(DenoiserFlowMap, checkpoint.flow_map))  # it samples
        times = flow_times(self.flow_map, wanted.steps, wanted.stop)
        self.flow = ProbabilityFlow(self.flow_map, times)
        self.mean = TangentMean(self.flow_map, wanted.recorded, wanted.compiled)
        self.law = BoltzmannLaw(wanted.system, checkpoint.scale)

    def piece(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Return some of the samples.

        Parameters
        ----------
        numbers : ndarray, (PIECE,) int
            Which; a sample depends on its number, not on the others.

        Returns
        -------
        dict
            ``positions`` (PIECE, n_atoms, 3) float32 nm; ``energies`` kJ/mol; ``log_weights``,
            ``log_density`` of the flow's end in units of the data, ``sign`` of the Jacobian,
            ``force_calls`` and ``acceptance``, all (PIECE,); ``seconds`` (2,) of the processor for
            the flow with its Jacobian and for physics.
        """
        began = time.process_time()
        with torch.no_grad():
            x = self.starts(numbers)
            arrival = self.arrive(x)
            variance = start_variance(self.flow_map)
            log_density = log_normal(x, variance) - arrival.log_determinant
            guess = denoised(
                self.flow_map, self.flow.times[-1], self.wanted.stop, arrival.positions
            )
        flowed = time.process_time()
        ends, guesses = (
            part.double().cpu().flatten(1).numpy() @ self.law.basis
            for part in (arrival.positions, guess)
        )
        rows = [
            self._last(int(number), ends[k], guesses[k], float(log_density[k]))
            for k, number in enumerate(numbers)
        ]
        found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        seconds = np.array([flowed - began, time.process_time() - flowed])
        return {
            **found,
            "positions": found["positions"].astype(np.float32),
            "log_density": log_density.cpu().numpy(),
            "sign": arrival.sign.cpu().numpy(),
            "seconds": seconds,
        }

    def arrive(self, x: torch.Tensor) -> Arrival:
        """Carry starts through the flow, with its derivative."""
        chunk = max(1, _PAIRS // (PIECE * x.shape[1] ** 2))
        return arrive(lambda rows: self.flow.rows(rows, self.mean), x, chunk)

    def starts(self, numbers: np.ndarray) -> torch.Tensor:
        """Return the same starts as `flow_blocks` has."""
        flow_map = self.flow_map
        blocks, places = np.unique(numbers // BLOCK, return_inverse=True)
        starts = torch.stack([
            start_positions(
                flow_map, BLOCK, self.checkpoint.n_atoms,
                derive_seed(self.wanted.path_seed, "block", int(block)),
            )
            for block in blocks
        ])  # fmt: skip
        return starts[places, numbers % BLOCK].to(next(flow_map.parameters()).device)

    def _last(self, number: int, y, guess, log_density: float) -> dict:
        """Return positions, energy and weight of one sample whose flow ended at y."""
        if self.wanted.stop is None:
            energy, _ = self.law(y)
            return self._row(y, energy, -energy - log_density, 1, np.nan)
        seed = derive_seed(self.wanted.path_seed, "annealing", *divmod(number, PIECE))
        drawn = self.annealed(y, guess, np.random.default_rng(seed))
        if drawn is None:
            return self._row(guess, np.inf, -np.inf, 1, np.nan)
        return self._row(
            drawn.point, self.law(drawn.point)[0], drawn.log_integral - log_density,
            drawn.calls, drawn.acceptance,
        )  # fmt: skip

    def annealed(
        self, y: np.ndarray, guess: np.ndarray, rng: np.random.Generator,
        end: np.ndarray | None = None,
    ) -> Annealed | None:  # fmt: skip
        """Estimate ∫ exp(−U/kT) N(y; x, σ²) dx, the constant (2πσ²)^(−d/2) left out.

        Parameters
        ----------
        y, guess : ndarray, (d,)
            The end of the flow, and where the search for the mode begins.
        rng : numpy.random.Generator
        end : ndarray, (d,), optional
            See `anneal`.

        Returns
        -------
        Annealed or None
            None if there is no energy at the guess; calls are those for the mode too.
        """
        stop = cast(float, self.wanted.stop)
        precision = stop**-2

        def posterior(q):
            energy, gradient = self.law(q)
            away = q - y
            return energy + 0.5 * precision * away @ away, gradient + precision * away

        if not np.isfinite(posterior(guess)[0]):
            return None
        base = laplace(posterior, guess, _DIFFERENCE * stop, 0.5 * precision)
        drawn = anneal(posterior, base, self.wanted.schedule, rng, end)
        return replace(drawn, calls=base.calls + drawn.calls)

    def _row(self, q, energy: float, log_weight: float, calls: int, acceptance: float) -> dict:
        return {
            "positions": self.law.to_positions(q),
            "energies": energy * self.law.kt,
            "log_weights": log_weight if np.isfinite(log_weight) else -np.inf,
            "force_calls": calls,
            "acceptance": acceptance,
        }
