"""How far the learned rest of a force is from the gradient of an energy."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.maps.langevin.bonded_flow_map import BondedLangevinFlowMap


def curl_share(flow_map: BondedLangevinFlowMap, positions: Tensor, moved: Tensor) -> Tensor:
    r"""Return the share of the curl in how the rest of the force changes along a motion, (batch,).

    The derivatives J of a gradient are symmetric. What is not works along closed ways and heats the
    molecule. Displacements d that a molecule really makes weigh soft motions, which are wide, as
    that work does. With the force on an atom in units of its size in the data this is

        |(J − Jᵀ) d/2|²/|J d|²,

    0 of a gradient and 1 where J is antisymmetric; more where its two parts cancel each other along
    d, as they may before a force is learned. Gradients by weights pass through the numerator.

    Parameters
    ----------
    flow_map : BondedLangevinFlowMap
        Its network is run as it is, not as compiled code, which has no second derivatives.
    positions, moved : Tensor, (batch, atoms, 3)
        nm; d is not 0.
    """
    size = flow_map.force_sizes.to(positions)[:, None]
    with torch.compiler.set_stance("force_eager"):
        at = positions.detach().requires_grad_()
        force, along = torch.func.jvp(flow_map.rest_force, (at,), (moved,))[:2]
        (against,) = torch.autograd.grad(force, at, moved, create_graph=True)
    odd, whole = (0.5 * (along - against) / size, along.detach() / size)
    return odd.square().sum((1, 2)) / whole.square().sum((1, 2))
