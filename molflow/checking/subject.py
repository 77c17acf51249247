"""What is checked: a map at a number of steps, its samples, and what is known of the molecule."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molflow.analysis.reference import Reference
from molflow.brownian.increment import Increment
from molflow.brownian.path import BrownianPath
from molflow.comparison import find_reference
from molflow.errors import MolflowError
from molflow.farm import Jobs
from molflow.flow_map.rollout import centre_increment, jump
from molflow.maps.denoiser.draw import start_positions
from molflow.sampling.energies import energy_system
from molflow.sampling.ensemble import sample
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem, recorded_system
from molflow.training.checkpoint import Checkpoint


class Subject:
    """A checkpoint under examination; what several properties need is made once.

    Parameters
    ----------
    checkpoint : Checkpoint
    steps : int
        Network calls a sample.
    n : int
        Samples. Costlier properties look at a fixed part of them.
    seed : int
        Everything random follows from it.
    jobs : int or str, optional
        Processes, or a cluster, see `molflow.farm.Farm`, for molecular dynamics.
    """

    def __init__(
        self, checkpoint: Checkpoint, steps: int, n: int, seed: int, jobs: Jobs = None
    ):
        self.checkpoint = checkpoint
        self.flow_map: Any = checkpoint.flow_map  # of a kind that samples, with a clock
        self.steps, self.n, self.seed, self.jobs = steps, n, seed, jobs

    def in_double_precision(self) -> Subject:
        """Return the subject with its map, states and paths in double precision."""
        flow_map = copy.deepcopy(self.flow_map).double()
        checkpoint = replace(self.checkpoint, flow_map=flow_map)
        return Subject(checkpoint, self.steps, self.n, self.seed, self.jobs)

    def part(self, divisor: int) -> int:
        """Return the number of samples that a property `divisor` times as costly looks at."""
        return max(2, self.n // divisor)

    def seed_of(self, *names: str) -> int:
        """Return the seed of one purpose."""
        return derive_seed(self.seed, "check", *names, bits=31)

    @cached_property
    def system(self) -> MolecularSystem | None:
        """The molecular system, or None if it is not here as the map was trained on it."""
        try:
            return recorded_system(self.checkpoint.description)
        except MolflowError:
            return None

    @cached_property
    def force_field(self) -> MolecularSystem | None:
        """The system if it has energies: a coarse map has none."""
        return None if self.system is None or self.system.variant else self.system

    @property
    def no_force_field(self) -> str:
        """Why there is no `force_field`, a sentence."""
        found = energy_system(self.checkpoint.description)
        return found if isinstance(found, str) else ""

    @cached_property
    def reference(self) -> Reference | None:
        """The held-out runs of the system's reference MD, all of them if none is; or None."""
        if self.system is None:
            return None
        try:
            found = find_reference(self.system.folder / "reference")
        except MolflowError:
            return None
        return found.held_out() if found.held_out_runs else found

    @cached_property
    def positions(self) -> np.ndarray:
        """The samples, (n, atoms, 3) in nm."""
        return self.draw(self.steps, self.n)

    @cached_property
    def energies(self) -> np.ndarray:
        """Potential energies of the samples, (n,) kJ/mol; infinite where there is none.

        Only where there is a `force_field`.
        """
        from molflow.md.energies import potential_energies

        assert self.force_field is not None, "there are no energies without"
        energies = np.full(self.n, np.inf)
        finite = np.isfinite(self.positions).all(axis=(1, 2))
        if finite.any():
            energies[finite] = potential_energies(
                self.force_field, self.positions[finite], self.jobs
            )
        return energies

    def draw(self, steps: int, n: int) -> np.ndarray:
        """Return n samples in nm, the same paths whatever the number of steps."""
        drawn = sample(
            self.checkpoint, steps=steps, n=n, path_seed=self.seed_of("samples"), progress=False
        )
        return drawn.xyz

    def start(self, count: int, purpose: str) -> tuple[Tensor, BrownianPath]:
        """Return states at the start of the clock, (count, atoms, 3), and their paths."""
        atoms, sde = self.checkpoint.n_atoms, self.flow_map.sde
        like, seed = next(self.flow_map.parameters()), self.seed_of(purpose)
        path = BrownianPath(
            self.flow_map.basis, 0.0, sde.duration, (count, atoms, 3), seed,
            dtype=like.dtype, device=like.device,
        )  # fmt: skip
        return start_positions(self.flow_map, count, atoms, seed).to(like), path

    def step(self, s: Tensor, t: Tensor, x: Tensor, increment: Increment) -> Tensor:
        """Jump from s to t, each of shape (), as the sampler does."""
        with torch.no_grad():
            return jump(self.flow_map, s, t, x, increment)

    def integrator_step(self, s: Tensor, t: Tensor, x: Tensor, increment: Increment) -> Tensor:
        """Jump as an integrator would: the drift stays what it is at s (exponential Euler)."""
        at_s = s.expand(len(x))
        increment = centre_increment(increment)
        with torch.no_grad():
            drift = self.flow_map.mean(at_s, at_s, x, torch.zeros_like(increment.whitened()))
            return self.flow_map.sde.apply(at_s, t.expand(len(x)), x, drift, increment)
