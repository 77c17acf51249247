"""An objective: the semigroup by a residual that outliers do not rule."""

from __future__ import annotations

import torch

from molflow.objectives.semigroup import semigroup_residual


class RobustSemigroup:
    """log(1 + r) of the residual r of the semigroup against an average of the weights."""

    teacher, derivatives = "average", False
    needs: frozenset[str] = frozenset()

    def times(self, s, t, last, share):
        return 0.5 * (s + t), t

    def residual(self, flow_map, teacher, nonlinear, s, u, t, x, left, right, norm):
        return torch.log1p(semigroup_residual(flow_map, teacher, s, u, t, x, left, right, norm))


ROBUST = RobustSemigroup()
