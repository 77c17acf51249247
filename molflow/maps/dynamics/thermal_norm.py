"""How an error of a mean force is measured over steps of any length."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.devices import upload
from molflow.maps.langevin.flow_map import LangevinFlowMap
from molflow.maps.overdamped.flow_map import OverdampedFlowMap
from molflow.objectives.norm import mean_square


class ThermalNorm:
    r"""Mean square of what an error of the mean force does, in units of what is thermal.

    Of a short step, that is the error in units of the force f on the atom in the data. Of a long
    one it is that of the end: δv = h δF̄₁/m in units of the thermal velocity v, and
    δx = h² δF̄₂/(2m) in units of the width v τ of vibrations, with τ = m v/f the response time:

        w₁ = [1 + (h/τ)²]/f²,   w₂ = [1 + (h²/(2τ²))²]/f².

    Overdamped, δx = h δF̄/(mγ) in units of kT/f: w = [1 + (h/τ)²]/f² with τ = m γ kT/f².

    Parameters
    ----------
    flow_map : LangevinFlowMap or OverdampedFlowMap
    h : Tensor, (batch,)
        Lengths of the steps, ps.
    """

    def __init__(self, flow_map: LangevinFlowMap | OverdampedFlowMap, h: Tensor):
        place = flow_map.root_masses.device
        h, forces = upload(h.double(), place), flow_map.scales.forces
        forces = upload(torch.tensor(forces, dtype=torch.float64), place)
        if isinstance(flow_map, OverdampedFlowMap):
            slow = flow_map.scales.friction / flow_map.friction
            ratio = slow * h[:, None] / flow_map.relaxation
            self.weight = torch.sqrt(1.0 + ratio**2) / forces
        else:
            ratio = h[:, None] / flow_map.response
            both = torch.stack([0.5 * ratio**2, ratio], dim=1)
            masses = flow_map.root_masses.square()
            self.weight = torch.sqrt(1.0 + both**2) * masses / forces

    def __call__(self, error: Tensor, predicted: Tensor, s: Tensor) -> Tensor:
        """Return the measure, (batch,), of errors of n̄ in the shape of states."""
        return mean_square(self.weight.to(error)[..., None] * error, predicted, s)
