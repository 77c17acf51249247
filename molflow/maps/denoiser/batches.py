"""Training batches: everything random of a step, drawn from the seed and the step's number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from molflow import seeds
from molflow.flow_map.centring import centre
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.configuration import DenoiserObjectiveConfig
from molflow.maps.denoiser.posterior import grouped_mean
from molflow.objectives.matching import noised
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.training.fit import Epoch
from molflow.training.strata import log_uniform


@dataclass(frozen=True)
class TimeLaw:
    """How times are drawn, given the clock on which a sample's jumps are equally long."""

    clock: StepClock
    config: DenoiserObjectiveConfig

    @property
    def duration(self) -> float:
        """Length of the clock of the equation."""
        return self.clock.duration

    def local(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw times for the local objective: some uniform, some normal about the focus.

        The uniform ones are stratified, so that every batch sees every noise level.
        """
        focused = round(count * self.config.focus_share)
        rest = count - focused
        uniform = (torch.arange(rest) + torch.rand(rest, generator=generator)) / max(rest, 1)
        near = self.clock.centre + torch.randn(focused, generator=generator)
        return torch.cat([uniform * self.duration, near.clamp(0.0, self.duration)])

    def anchored(self, count: int) -> int:
        """Return how many of `count` long steps are short enough to be tied to the denoiser."""
        return round(count * self.config.anchor_share)

    def long(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the ends of long steps: log-uniform lengths in three ranges, uniform starts.

        The anchored ones come first, then those that are drawn on the clock of the jumps, as
        long as a jump of a sample, then the rest.
        """
        anchored = self.anchored(count)
        typical = round((count - anchored) * self.config.typical_share)
        shortest, longest = self.config.anchor
        rest = count - anchored - typical
        parts = (
            _steps(anchored, shortest, longest, self.duration, generator),
            self.clock.time(_steps(typical, *self.config.typical, self.clock.length, generator)),
            _steps(rest, longest, 1.0, self.duration, generator),
        )
        start, end = torch.cat(parts, dim=1).float()
        return start, end


def _steps(
    count: int, low: float, high: float, length: float, generator: torch.Generator
) -> Tensor:
    """Draw the ends, (2, count), of steps on a clock of given length; lengths in units of it."""
    part = log_uniform(count, low, high, generator).double()
    start = (1.0 - part) * torch.rand(count, generator=generator)
    return length * torch.stack([start, start + part])


class StepBatches(Dataset):
    """The batches of one epoch; item k is a whole batch.

    A batch depends on the seed, the epoch, k and the process alone. A run that resumes at an epoch
    sees the batches that an uninterrupted run would have seen.

    Parameters
    ----------
    positions : Tensor, (frames, atoms, 3)
        Centred, at unit standard deviation.
    features : int
        Features of an increment per component.
    local : int
        Molecules of the batch that serve the local objective; the others are steps.
    weights : ndarray, (frames,), optional
        Sum to 1; frames are drawn in proportion, so that the local objective has the minimiser of
        frames of equal weight from the law that the weighted ones stand for. Steps are objectives
        point by point: there it only says where the effort goes.
    rare_share : float
        r; with weights w, frames are drawn by q = (1 − r) w + r sqrt(w)/Σ sqrt(w), in which frames
        that a bias made frequent are less rare. The local objective has the factors w/q then, at
        most 1/(1 − r), and its minimiser stays.
    etas : (float, float), optional
        Range from which η is drawn for each batch, of maps that have it as an input.
    sde : ReverseDiffusion, optional
        With it targets are means over `averaged_over` clean conformations.
    """

    def __init__(
        self,
        positions: Tensor,
        law: TimeLaw,
        features: int,
        batch_size: int,
        local: list[int],
        seed: int,
        epoch: Epoch,
        weights: np.ndarray | None = None,
        rare_share: float = 0.0,
        etas: tuple[float, float] | None = None,
        sde: ReverseDiffusion | None = None,
    ):
        self.positions, self.law, self.features = positions, law, features
        self.batch_size, self.local = batch_size, local
        self.seed, self.epoch, self.etas, self.sde = seed, epoch, etas, sde
        self.reach, self.importance = None, None
        if weights is not None:
            roots = np.sqrt(weights)
            drawn = (1.0 - rare_share) * weights + rare_share * roots / roots.sum()
            self.reach = torch.from_numpy(np.cumsum(drawn))
            if rare_share:
                factors = np.divide(weights, drawn, out=np.zeros_like(drawn), where=drawn > 0)
                self.importance = torch.from_numpy(factors).float()

    def __len__(self) -> int:
        return len(self.local)

    def __getitem__(self, index: int) -> dict[str, Tensor | float]:
        generator = seeds.generator(self.seed, "batch", *self.epoch.names(index))
        local = self.local[index]
        rows = self._rows(generator)
        clean = self.positions[rows]
        normal = centre(torch.randn(clean.shape, generator=generator))
        start, end = self.law.long(self.batch_size - local, generator)
        shape = (2, self.batch_size - local, self.features, *clean.shape[1:])
        halves = centre(torch.randn(shape, generator=generator)).movedim(2, -1)
        times = self.law.local(local, generator)
        batch: dict[str, Tensor | float] = {
            "clean": clean,
            "normal": normal,
            "local_time": times,
            "anchored": self.law.anchored(self.batch_size - local),
            "start": start,
            "end": end,
            "left": halves[0].contiguous(),
            "right": halves[1].contiguous(),
            # Where objectives divide a step that may be divided anywhere.
            "share": torch.rand(len(start), generator=generator),
        }
        importance = None if self.importance is None else self.importance[rows[:local]]
        if self.sde is not None:
            sigma, own = self.sde.sigma(times), clean[:local]
            batch["target"], importance = grouped_mean(
                noised(own, sigma, normal[:local]), sigma, own,
                torch.ones(local) if importance is None else importance,
                self.law.config.averaged_over,
            )  # fmt: skip
        if importance is not None:
            batch["importance"] = importance
        if self.etas is not None:
            low, high = self.etas
            batch["eta"] = low + (high - low) * float(torch.rand((), generator=generator))
        return batch

    def _rows(self, generator: torch.Generator) -> Tensor:
        if self.reach is None:
            return torch.randint(len(self.positions), (self.batch_size,), generator=generator)
        points = torch.rand(self.batch_size, generator=generator, dtype=torch.float64)
        rows = torch.searchsorted(self.reach, self.reach[-1] * points, right=True)
        return rows.clamp(max=len(self.positions) - 1)


def local_counts(
    config: DenoiserObjectiveConfig, batch_size: int, first_step: int, steps: int
) -> list[int]:
    """Return how many molecules of each batch serve the local objective."""
    mixed = min(batch_size - 1, max(1, round(batch_size * config.local_share)))
    return [batch_size if first_step + k < config.local_steps else mixed for k in range(steps)]


def scaled_positions(positions: np.ndarray, scale: float) -> Tensor:
    """Turn centred positions in nm into a float32 tensor at unit standard deviation."""
    return torch.from_numpy(np.ascontiguousarray(positions, dtype=np.float32)) / scale
