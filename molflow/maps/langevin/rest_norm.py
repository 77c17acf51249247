"""How an error of the rest of the force along a step is measured."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.devices import upload
from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap


def rest_error(flow_map: BondedLangevinFlowMap, h: Tensor, error: Tensor) -> Tensor:
    """Return the mean square of what an error of the rest of the force does, (batch,).

    Of a short step that is its square, on average along the step, ∫ δF² dθ = Σ δf_n²/(2n + 1), in
    units of the rest f of the force in the data; of a long one that of δv = h δF/m in units of the
    thermal velocity: with τ = m v/f both together are [1 + (h/τ)²] ∫ δF² dθ/f².

    Parameters
    ----------
    flow_map : BondedLangevinFlowMap
    h : Tensor, (batch,)
        ps.
    error : Tensor, (count, batch, atoms, 3)
        δf_n/m in nm/ps².
    """
    masses = flow_map.root_masses.square()
    h = upload(h.double(), masses.device)
    sizes = torch.sqrt(1.0 + (h[:, None] / flow_map.response) ** 2)
    size = sizes * masses / flow_map.force_sizes
    odd = 2.0 * torch.arange(len(error), device=h.device) + 1.0
    squares = (size.to(error)[..., None] * error).square().mean(dim=(2, 3))
    return (squares / odd.to(error)[:, None]).sum(0)
