"""What the flow and the annealing, run backwards, say of conformations of the Boltzmann law."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from molflow.exact.density import log_normal
from molflow.exact.inside import SEGMENT, InsideWalker
from molflow.exact.inversion import origin
from molflow.exact.strata import basin_numbers, denoised
from molflow.exact.weighted_piece import PIECE, Wanted, WeightedPieces
from molflow.maps.denoiser.draw import start_variance
from molflow.seeds import derive_seed
from molflow.training.checkpoint import Checkpoint

#: How far from its place the end of an inverted flow may be, in units of the noise that is left.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Backward:
    """What is asked of every frame.

    Attributes
    ----------
    wanted : Wanted
        Of the forward samples; a `stop` is needed.
    segments : int
        Of molecular dynamics before a frame is taken.
    seed : int
    """

    wanted: Wanted
    segments: int
    seed: int


class BackwardPieces:
    r"""One process's dynamics, flow and force field.

    Of a forward sample everything is known: start z, end y of the flow, C annealing chains from y,
    and which chain's end became the conformation. The extended target draws a conformation x from
    the Boltzmann law, y from N(x, σ²), one chain backwards from x and C − 1 forwards, and which of
    them is x's uniformly. The ratio of the two densities is Ẑ(y)/q(y) up to a constant, Ẑ being
    the mean of all chains, the one that ran back included (Andrieu, Doucet and Holenstein 2010).

    Parameters
    ----------
    checkpoint : Checkpoint
    backward : Backward
    """

    def __init__(self, checkpoint: Checkpoint, backward: Backward):
        self.backward = backward
        self.pieces = WeightedPieces(checkpoint, backward.wanted)
        self._topology = checkpoint.topology()

    def piece(self, basin: int, index: int, starts: np.ndarray) -> dict[str, np.ndarray]:
        """Walk from `starts` (PIECE, n_atoms, 3) inside a basin and weigh the ends backwards.

        Returns
        -------
        dict
            ``positions`` nm, ``energies`` kJ/mol, ``log_weights``, infinite where the proposal
            never goes (no start was found that the flow carries there, or no energy where the
            search for the mode begins), ``undone``, segments of dynamics that left the basin, and
            ``seconds`` of the processor, all (PIECE,).
        """
        began = time.process_time()
        seed = derive_seed(self.backward.seed, "backward", basin, index)
        pieces, law = self.pieces, self.pieces.law

        def inside(positions: np.ndarray) -> bool:
            return basin_numbers(positions[None], self._topology)[0] == basin

        walker = InsideWalker(self.backward.wanted.system, inside)
        walks = [
            walker.walk(start, self.backward.segments, derive_seed(seed, "walk", k))
            for k, start in enumerate(starts)
        ]
        positions = np.array([place for place, _ in walks])
        rng = np.random.default_rng(derive_seed(seed, "noise"))
        stop = self.backward.wanted.stop
        assert stop is not None  # checked where the work is planned
        centred = positions - positions.mean(1, keepdims=True)
        conformations = centred.reshape(PIECE, -1) @ law.basis / pieces.checkpoint.scale
        ends = conformations + stop * rng.normal(size=conformations.shape)
        example = next(pieces.flow_map.parameters())
        y = torch.from_numpy((ends @ law.basis.T).reshape(centred.shape)).to(example)
        with torch.no_grad():
            source = origin(pieces.flow, pieces.arrive, y, _TOLERANCE * stop)
            guess = denoised(pieces.flow_map, pieces.flow.times[-1], stop, y)
        variance = start_variance(pieces.flow_map)
        log_density = log_normal(source.start, variance) - source.arrival.log_determinant
        # As the forward samples have them, after the rounding of the network's numbers.
        ends, guesses = (part.double().cpu().flatten(1).numpy() @ law.basis for part in (y, guess))
        log_weights = np.full(PIECE, np.inf)
        for k in range(PIECE):
            drawn = pieces.annealed(ends[k], guesses[k], rng, conformations[k])
            if drawn is not None and source.found[k]:
                log_weights[k] = drawn.log_integral - float(log_density[k])
        energies = [law.kt * law(q)[0] for q in conformations]
        return {
            "positions": positions,
            "energies": np.array(energies),
            "log_weights": log_weights,
            "undone": np.array([undone for _, undone in walks]),
            "seconds": np.full(PIECE, (time.process_time() - began) / PIECE),
        }


def segments_of(time: float) -> int:
    """Return how many segments of dynamics are nearest to a time in ps, at least 1."""
    return max(1, round(time / SEGMENT))
