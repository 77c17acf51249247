"""How conformations of several molecules train one map that samples from noise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from molflow import seeds
from molflow.errors import MolflowError
from molflow.maps.denoiser.chemistry import chemistry_for
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.maps.denoiser.recipe import DenoiserRecipe
from molflow.objectives.residuals import Residuals
from molflow.seeds import derive_seed
from molflow.training.fit import Epoch
from molflow.training.kinds import Ingredients, Material, Recipe

#: Molecules of one kind that a batch has at least, where it has not all kinds.
LEAST = 8
#: Share of the batches of a molecule in which the network is not told the names of its residues, so
#: that it can speak of such as it has not seen.
UNNAMED = 0.25


class BatchesOfMany(Dataset):
    """Batches of one epoch, each a list of batches of single molecules of equal size.

    Parts are equally large whatever the number of atoms or frames of their molecule, and the loss
    of each is a mean over its atoms: no molecule counts for more than another. Where there are more
    molecules than the batch has room for, every batch has others, drawn from the seed.

    Parameters
    ----------
    molecules : sequence of StepBatches
        Batches of each molecule, of `size_of_parts`.
    batch_size : int
    seed : int
    epoch : Epoch
    """

    def __init__(self, molecules: Sequence[Any], batch_size: int, seed: int, epoch: Epoch):
        self.molecules, self.seed, self.epoch = molecules, seed, epoch
        self.parts = number_of_parts(len(molecules), batch_size)

    def __len__(self) -> int:
        return self.epoch.count

    def __getitem__(self, index: int) -> list[dict[str, Tensor | int | bool]]:
        generator = seeds.generator(self.seed, "molecules", *self.epoch.names(index))
        order = torch.randperm(len(self.molecules), generator=generator)
        chosen = sorted(order[: self.parts].tolist())
        named = torch.rand(self.parts, generator=generator) >= UNNAMED
        return [
            {**self.molecules[k][index], "molecule": k, "named": told}
            for k, told in zip(chosen, named.tolist(), strict=True)
        ]


def number_of_parts(molecules: int, batch_size: int) -> int:
    """Return how many molecules a batch has."""
    return min(molecules, max(1, batch_size // LEAST))


class ObjectiveOfMany(nn.Module):
    """The objectives of all molecules, each for its own parts of a batch.

    Parameters
    ----------
    objectives : sequence of DenoiserObjective
        For single molecules.
    spreads : sequence of float
        Of the molecules, see `DenoiserFlowMap`.
    """

    def __init__(self, objectives: Sequence[Any], spreads: Sequence[float]):
        super().__init__()
        self.objectives, self.spreads = nn.ModuleList(objectives), tuple(spreads)

    def forward(
        self, flow_map: DenoiserFlowMap, teacher: DenoiserFlowMap, batch: list[dict]
    ) -> list[Residuals]:
        """Return the residuals of all parts of one batch of `BatchesOfMany`."""
        found: list[list[Residuals]] = []
        for part in batch:
            k, named = part["molecule"], part["named"]
            own, its = (each.of_molecule(k, self.spreads[k], named) for each in (flow_map, teacher))
            found.append(self.objectives[k](own, its, part))
        return [residuals for one in found for residuals in one]


class RecipeOfMany(Recipe[DenoiserFlowMap]):
    """That of each molecule, in one network and one unit of length."""

    def __init__(self, materials: Sequence[Material]):
        kind = materials[0].settings.network.kind
        self.known = chemistry_for(materials)
        if self.known is None:
            raise MolflowError(
                f"{len(materials)} systems are given, and network.kind = {kind} learns one "
                "molecule: set network.kind=shared, or leave it out."
            )
        if materials[0].frozen is not None:
            raise MolflowError(
                f"objective.family = {materials[0].settings.objective.family} has a map of one "
                f"molecule as its teacher, and {len(materials)} systems are given: choose another."
            )
        self.scale = self.known.unit
        self.settings = materials[0].settings
        self.graphs = [material.graph for material in materials]
        # Scores are means over molecules, of which each needs fewer samples.
        share = max(64, self.settings.validation_samples // len(materials))
        fewer = self.settings.model_copy(update={"validation_samples": share})
        self.recipes = [
            DenoiserRecipe(replace(material, settings=fewer), self.known) for material in materials
        ]
        names = "-".join(recipe.data_hash for recipe in self.recipes)
        self.data_hash = hashlib.sha256(names.encode()).hexdigest()

    def ingredients(self, flow_map: DenoiserFlowMap) -> Ingredients:
        """Return objective, batches and validation of all molecules together."""
        settings = self.settings
        network: Any = flow_map.network
        network.speak_of(self.graphs, self.known)
        spreads = [self.known.spread(graph) for graph in self.graphs]
        size = settings.batch_size // number_of_parts(len(self.graphs), settings.batch_size)
        parts = [
            recipe.parts(flow_map, size, derive_seed(settings.seed, "molecule", k))
            for k, recipe in enumerate(self.recipes)
        ]

        def batches(epoch: Epoch) -> BatchesOfMany:
            return BatchesOfMany(
                [part.batches(epoch) for part in parts], settings.batch_size, settings.seed, epoch
            )

        def scores(trained: DenoiserFlowMap) -> dict[str, float]:
            found: dict[str, list[float]] = {}
            for k, part in enumerate(parts):
                if part.validation is None:
                    continue
                own = trained.of_molecule(k, spreads[k], True)
                for name, value in part.validation(own).items():
                    found.setdefault(name, []).append(value)
            return {name: float(np.mean(values)) for name, values in found.items()}

        judged = any(part.validation is not None for part in parts)
        return Ingredients(
            ObjectiveOfMany([part.objective for part in parts], spreads),
            batches,
            flow_map.sde.duration,
            scores if judged else None,
            parts[0].derivatives,
        )
