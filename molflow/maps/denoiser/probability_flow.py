"""The deterministic map that a strong map contains: its probability flow, with its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from molflow.errors import MolflowError
from molflow.maps.denoiser.flow_map import DenoiserFlowMap, etas_of, spread_of
from molflow.sde.base import time_tensor

#: D̄ and its directional derivatives: (s, t, rows of x, rows of z) -> rows of D̄.
RowsOfMean = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class ProbabilityFlow:
    r"""Jumps along the path that turns a reverse diffusion into its probability flow.

    With ε̂ = (x − D)/σ the reversed equation dX = (1 + η²)(D − X) dt + √2 η σ dW becomes the
    probability flow dX = (D − X) dt when it is driven by dW = η ε̂/√2 dt. On a jump from s the
    map is given the constant slope w = η ε̂/√2: I⁰ = h w, all other coefficients zero, and the
    exponential feature w (1 − exp(−η² h))/η², which the coefficients carry wholly, so that of the
    whitened features only the first is not zero, √h w. The jump is

        x_t = Φ x + (1 − Φ) D̄ + √2 η σ_t w (1 − exp(−η² h))/η².

    For the D of ε̂ the mean D̄ of the jump before is taken, whose weight lies at its end: one call
    of the network a jump, as for samples. (A call for D(x, s) doubles the calls, and at equal calls
    leaves the larger error.) The first jump has none before it; where σ is far above the spread of
    the data, D there is that of a Gaussian, x/(1 + σ²), and elsewhere it is asked for once. The
    error of η² ε̂ is of first order in h. A map trained with η = 0, or taken there (see
    `without_paths`), sees no path.

    The flow is deterministic and smooth whatever ε̂ is, so that it has a density; what is said
    above decides only how near that is to the density of the data with noise.

    Parameters
    ----------
    flow_map : DenoiserFlowMap
    times : sequence of float
        Increasing times on the clock, two at least.

    Raises
    ------
    MolflowError
        If the times do not increase.
    """

    #: σ in units of the data from which on the first ε̂ is that of a Gaussian.
    FAR = 5.0

    def __init__(self, flow_map: DenoiserFlowMap, times: Sequence[float]):
        times = [float(time) for time in times]
        if len(times) < 2 or any(a >= b for a, b in zip(times[:-1], times[1:], strict=True)):
            raise MolflowError(f"the times {times} of a flow must increase, and be two at least.")
        self.flow_map, self.times = flow_map, times
        self._asks_first = bool(flow_map.sde.eta) and self._sigma(times[0]) < self.FAR

    @property
    def calls(self) -> int:
        """Calls of the network that a sample takes."""
        return len(self.times) - 1 + self._asks_first

    def __call__(self, x: Tensor) -> Tensor:
        """Return the state at the last time, (batch, atoms, 3), from that at the first."""
        return self.rows(x.unsqueeze(0), self._mean)[0]

    def rows(self, rows: Tensor, mean: RowsOfMean) -> Tensor:
        """Carry states and directions along.

        Parameters
        ----------
        rows : Tensor, (1 + directions, batch, atoms, 3)
            The state, and directions in which the derivative of the flow is wanted.
        mean : callable
            Of the flow map, with its derivatives; see `TangentMean`.

        Returns
        -------
        Tensor
            The state at the last time, and the derivatives of it along the directions: all that
            the flow does besides the network is linear.
        """
        variance = spread_of(self.flow_map) ** 2
        seen = variance * rows / (variance + self._sigma(self.times[0]) ** 2)
        if self._asks_first:
            start = self._time(self.times[0], rows)
            seen = mean(start, start, rows, rows.new_zeros(*rows.shape, self.flow_map.basis.size))
        for s, t in zip(self.times[:-1], self.times[1:], strict=True):
            rows, seen = self._jump(s, t, rows, seen, mean)
        return rows

    def _jump(self, s: float, t: float, rows: Tensor, seen: Tensor, mean: RowsOfMean):
        """Return the rows at t, and those of D̄."""
        sde, h = self.flow_map.sde, t - s
        slope = sde.eta / math.sqrt(2.0) * (rows - seen) / self._sigma(s)
        others = rows.new_zeros(*rows.shape, self.flow_map.basis.size - 1)
        z = torch.cat([math.sqrt(h) * slope.unsqueeze(-1), others], dim=-1)
        seen = mean(self._time(s, rows), self._time(t, rows), rows, z)
        lift = float(sde.lift(time_tensor(s), time_tensor(t)))
        known = lift * rows + _feature(sde.eta, h) * self._sigma(t) * slope
        return known + (1.0 - lift) * seen, seen

    def _sigma(self, t: float) -> float:
        return float(self.flow_map.sde.sigma(t))

    @staticmethod
    def _time(t: float, rows: Tensor) -> Tensor:
        return torch.full(rows.shape[1:2], t, dtype=rows.dtype, device=rows.device)

    def _mean(self, s: Tensor, t: Tensor, rows: Tensor, z: Tensor) -> Tensor:
        return self.flow_map.mean(s, t, rows[0], z[0]).unsqueeze(0)


def without_paths(flow_map: DenoiserFlowMap) -> DenoiserFlowMap:
    """Return the map at η = 0, which is the flow itself, where its network has learned that."""
    etas = etas_of(flow_map)
    return flow_map.at(0.0) if etas is not None and etas[0] == 0.0 else flow_map


def _feature(eta: float, h: float) -> float:
    """√2 η times the exponential feature of a path of slope 1."""
    return math.sqrt(2.0) * -math.expm1(-(eta**2) * h) / eta if eta else 0.0


def flow_times(flow_map: DenoiserFlowMap, steps: int, stop: float | None = None) -> list[float]:
    """Return the ends of `steps` jumps from σ_max to σ = `stop`, equally long on the map's clock.

    Parameters
    ----------
    flow_map : DenoiserFlowMap
    steps : int
        At least 1.
    stop : float, optional
        In units of the data; by default σ_min.

    Raises
    ------
    MolflowError
        If `stop` is not between σ_min and σ_max.
    """
    sde, clock = flow_map.sde, flow_map.clock
    if stop is None:
        return clock.grid(steps)
    if not sde.sigma_min <= stop < sde.sigma_max:
        raise MolflowError(
            f"stop is {stop:g}: give a noise between {sde.sigma_min:g} and {sde.sigma_max:g}, in "
            "units of the spread of the data."
        )
    end = float(sde.time(stop))
    parts = torch.arange(1, steps, dtype=torch.float64) / steps
    return [0.0, *clock.time(float(clock.position(end)) * parts).tolist(), end]
