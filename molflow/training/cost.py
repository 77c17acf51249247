"""What a training step costs here, before one is begun."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from molflow.data.dataset import TrainingData, load_training_data
from molflow.systems import MolecularSystem
from molflow.training.configuration import load_configuration
from molflow.training.fit import Epoch
from molflow.training.kinds import Material, build_flow_map
from molflow.training.molecules import graph_of
from molflow.training.surroundings import seeded


@dataclass(frozen=True)
class StepCost:
    """Of one training step with long steps in the batch.

    Attributes
    ----------
    seconds : float
        Wall-clock time, the median of those that were made.
    batch_size : int
        Molecules of the batch.
    parameters : int
        Of the network.
    load : float
        Wall-clock seconds that a second of processor time took, 1 or more.
    """

    seconds: float
    batch_size: int
    parameters: int
    load: float


def step_cost(
    system: MolecularSystem,
    data: str | Path | TrainingData,
    overrides: Sequence[str] = (),
    enough: float = 1.0,
    most: int = 10,
) -> StepCost:
    """Make some training steps, forget the weights, and return what one costs.

    Parameters
    ----------
    system : MolecularSystem
    data : path or TrainingData
        Folder that `molflow.prepare` wrote, or what is in one.
    overrides : sequence of str
        ``key=value`` words of the configuration.
    enough : float
        Seconds after which no further step is timed.
    most : int
        Steps that are timed at most, after one that is not.
    """
    steps, settings, flow_map = training_steps(system, data, overrides)
    busy, whole = time.process_time(), time.perf_counter()
    next(steps)
    begun = time.perf_counter()
    times: list[float] = []
    while len(times) < most and (not times or time.perf_counter() - begun < enough):
        start = time.perf_counter()
        next(steps)
        times.append(time.perf_counter() - start)
    parameters = sum(value.numel() for value in flow_map.parameters())
    load = (time.perf_counter() - whole) / max(1e-6, time.process_time() - busy)
    middle = sorted(times)[len(times) // 2]
    return StepCost(middle, settings.batch_size, parameters, max(1.0, load))


def training_steps(
    system: MolecularSystem, data: str | Path | TrainingData, overrides: Sequence[str] = ()
):
    """Return an iterator that makes a training step with each item, settings and the map.

    The steps are those after `objective.local_steps`, which cost most; their loss is not weighted,
    and no average of the weights is kept.
    """
    settings = load_configuration((), overrides)
    training = data if isinstance(data, TrainingData) else load_training_data(data)
    topology, graph = system.topology(), graph_of(system)
    recipe = settings.kind.recipe(Material(system, topology, graph, training, settings, None))
    with seeded(settings.seed):
        flow_map = build_flow_map(graph, settings.network, settings.map, recipe.known)
        ingredients = recipe.ingredients(flow_map)
    teacher = copy.deepcopy(flow_map).requires_grad_(False)
    optimizer = torch.optim.AdamW(flow_map.parameters(), lr=1e-6)

    def steps() -> Iterator[None]:
        for number in itertools.count(1):
            batches = ingredients.batches(Epoch(number, settings.objective.local_steps, 8))
            for batch in itertools.islice(iter(batches), 8):
                found = ingredients.objective(flow_map, teacher, batch)
                parts = found if isinstance(found, list) else [found]
                values = [part if isinstance(part, torch.Tensor) else part.values for part in parts]
                optimizer.zero_grad()
                torch.cat(values).mean().backward()
                optimizer.step()
                yield

    return steps(), settings, flow_map
