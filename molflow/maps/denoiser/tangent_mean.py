"""A map's mean with its derivatives along many directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from molflow.maps.denoiser.flow_map import DenoiserFlowMap

#: Of the value, which is one for all directions, and of the derivatives.
_AXES: Any = (None, 0)


class TangentMean:
    """Forward-mode derivatives of D̄, all directions at once, the value computed once for them.

    For long work what PyTorch does for the first batch can be recorded as a graph, without the
    wrapping of derivatives and without what nobody uses, and played for all later ones: a third
    faster after some seconds of recording and, compiled, twice as fast after minutes of compiling.

    Parameters
    ----------
    flow_map : DenoiserFlowMap
    recorded : bool
        Whether to record.
    compiled : bool
        Whether to make machine code of what is recorded; needs a C++ compiler on a CPU.
    """

    def __init__(self, flow_map: DenoiserFlowMap, recorded: bool = False, compiled: bool = False):
        self.flow_map, self.compiled = flow_map, compiled
        self.recorded = recorded or compiled
        self._graphs: dict[tuple, Callable[..., Tensor]] = {}

    def __call__(self, s: Tensor, t: Tensor, rows: Tensor, z: Tensor) -> Tensor:
        """Return D̄ and its derivatives, in the shape of `rows`.

        Parameters
        ----------
        s, t : Tensor, (batch,)
        rows : Tensor, (1 + directions, batch, atoms, 3)
            x, and directions of x.
        z : Tensor, (1 + directions, batch, atoms, 3, features)
            Whitened features, and the directions of these that belong to those of x.
        """
        if not self.recorded:
            return self._derivatives(s, t, rows, z)
        key = (tuple(rows.shape), rows.dtype, rows.device)
        if key not in self._graphs:
            # Tracing counts the arguments of a bound method wrongly, and takes two arguments that
            # are one tensor, as s and t of the denoiser are, for one argument for ever.
            graph = make_fx(lambda *arguments: self._derivatives(*arguments))(
                s.clone(), t.clone(), rows, z
            )
            graph.graph.eliminate_dead_code()
            graph.recompile()
            self._graphs[key] = torch.compile(graph, dynamic=False) if self.compiled else graph
        return self._graphs[key](s, t, rows, z)

    def _derivatives(self, s: Tensor, t: Tensor, rows: Tensor, z: Tensor) -> Tensor:
        def along(direction, of_features):
            return jvp(
                lambda x, features: self.flow_map.mean(s, t, x, features),
                (rows[0], z[0]),
                (direction, of_features),
            )

        value, derivatives = vmap(along, out_dims=_AXES)(rows[1:], z[1:])
        return torch.cat([value.unsqueeze(0), derivatives])
