"""The kernels of an objective and of its gradients, replayed as CUDA graphs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from molflow.errors import MolflowError
from molflow.flow_map.base import FlowMap
from molflow.objectives.residuals import Objective, Residuals, residuals_of

#: Graphs that are kept, each with the memory of its step; what is of another kind goes without.
MOST = 64


class CapturedObjective:
    """An objective that is captured once for each kind of batch and replayed with other numbers.

    A step on a small molecule is thousands of short kernels, which a GPU is through with sooner
    than Python has named them; a graph starts them all at once. The weights may change in between;
    where they lie they stay. A batch that is a list, of several molecules, is captured part after
    part, each molecule with graphs of its own.

    Parameters
    ----------
    objective : Objective
    flow_map, teacher : FlowMap
    """

    def __init__(self, objective: Objective, flow_map: FlowMap, teacher: FlowMap):
        self.plain = objective, flow_map, teacher
        self._graphs: list[tuple[dict[str, Any], _Graph]] = []

    def __call__(self, batch: dict[str, Any] | list[dict[str, Any]]) -> list[Residuals]:
        """Return the residuals of a batch.

        Parameters
        ----------
        batch : dict, or list of dict
            Tensors on a GPU, and whole numbers that a graph is of.

        Raises
        ------
        MolflowError
            If the batch is no dictionary and no list of them, or has a number of its own that a
            graph would freeze, or the step cannot be captured.
        """
        if not isinstance(batch, list):
            return self._of_part(batch, several=False)
        return [found for part in batch for found in self._of_part(part, several=True)]

    def _of_part(self, part: Any, several: bool) -> list[Residuals]:
        if not isinstance(part, dict) or any(isinstance(v, float) for v in part.values()):
            raise MolflowError(
                "captured (--capture) is True, and a step of this objective depends on numbers of "
                "its batch that a graph would freeze: leave it out."
            )
        kind, tensors = _split(part)
        graph = next((one for known, one in self._graphs if known == kind), None)
        if graph is None:
            if len(self._graphs) == MOST:
                objective, flow_map, teacher = self.plain
                return residuals_of(objective(flow_map, teacher, [part] if several else part))
            graph = _Graph(_Values(*self.plain, kind, tuple(tensors), several), tensors)
            self._graphs.append((kind, graph))
        return graph(tensors)


class _Graph:
    """One function of tensors, captured with its gradients."""

    def __init__(self, asked: _Values, tensors: dict[str, Tensor]):
        values = tuple(tensors.values())
        # Fills what is kept on the device from the first step on, and tells the parts.
        asked(*values)
        self.parts = asked.parts
        # Weights that an objective does not ask have no gradient.
        try:
            self.replay: Any = torch.cuda.make_graphed_callables(
                asked, values, allow_unused_input=True
            )
        except RuntimeError as error:  # CUDA's, of a step that reads from the device
            raise MolflowError(
                "captured (--capture) is True, and the step of this map cannot be captured, as "
                f"none that looks for neighbours can ({str(error).splitlines()[0]}): leave it out."
            ) from error

    def __call__(self, tensors: dict[str, Tensor]) -> list[Residuals]:
        return _joined(self.replay(*tensors.values()), self.parts)


class _Values(nn.Module):
    """An objective as a function of tensors that returns tensors."""

    def __init__(
        self,
        objective,
        flow_map,
        teacher,
        kind: dict[str, Any],
        names: tuple[str, ...],
        several: bool,
    ):
        super().__init__()
        self.objective, self.flow_map, self.teacher = objective, flow_map, teacher
        self.numbers = {name: value for name, value in kind.items() if name not in names}
        self.names, self.several = names, several
        self.parts: list[dict[str, int]] = []

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        batch: Any = dict(zip(self.names, tensors, strict=True)) | self.numbers
        batch = [batch] if self.several else batch
        found = residuals_of(self.objective(self.flow_map, self.teacher, batch))
        if any(one.watched for one in found):
            raise MolflowError(
                "captured (--capture) is True, and this objective has numbers to be watched that a "
                "graph would lose: leave it out."
            )
        self.parts = [one.parts for one in found]
        return tuple(part for one in found for part in (one.values, *_times(one)))


def _times(found: Residuals) -> tuple[Tensor, Tensor]:
    """Return the ends of steps; where none are known, those of steps of no length."""
    if found.s is None or found.t is None:
        nothing = torch.zeros_like(found.values)
        return nothing, nothing
    return found.s, found.t


def _joined(values: tuple[Tensor, ...], parts: list[dict[str, int]]) -> list[Residuals]:
    """Return tensors as residuals again; times pass no gradient."""
    triples = zip(values[::3], values[1::3], values[2::3], parts, strict=True)
    return [Residuals(value, s.detach(), t.detach(), own) for value, s, t, own in triples]


def _split(batch: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what must be alike for a replay, shapes and numbers, and the tensors."""
    tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    kind = {name: value for name, value in batch.items() if name not in tensors}
    return kind | {name: tuple(value.shape) for name, value in tensors.items()}, tensors
