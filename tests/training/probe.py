"""An objective with the map and the teacher it is asked about."""

from __future__ import annotations

import copy


class Probe:
    """Ask an objective for batches; keep what it says of its parts.

    Attributes
    ----------
    parts : dict
        Of each part of the last batch the mean and the number of residuals.
    watched : dict
        The other numbers, by name.
    """

    def __init__(self, objective, flow_map):
        self.objective, self.flow_map = objective, flow_map
        self.teacher = copy.deepcopy(flow_map).requires_grad_(False)

    def ask(self, batch):
        """Return the residuals of a batch, (B,)."""
        import torch

        found = self.objective(self.flow_map, self.teacher, batch)
        found = found if isinstance(found, list) else [found]
        self.parts, self.watched = {}, {}
        for one in found:
            pieces = one.values.detach().split(list(one.parts.values()))
            named = zip(one.parts, pieces, strict=True)
            self.parts |= {name: (float(v.mean()), len(v)) for name, v in named if len(v)}
            self.watched |= {name: float(value) for name, (value, _) in one.watched.items()}
        return torch.cat([one.values for one in found])
