"""How an error of a mean force is measured over steps of any length."""

from __future__ import annotations

from torch import Tensor

from molflow.devices import upload
from molflow.maps.dynamics.flow_map import DynamicsFlowMap
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
    flow_map : DynamicsFlowMap
        Gives the weights, `DynamicsFlowMap.thermal_weight`.
    h : Tensor, (batch,)
        Lengths of the steps, ps.
    """

    def __init__(self, flow_map: DynamicsFlowMap, h: Tensor):
        self.weight = flow_map.thermal_weight(upload(h.double(), flow_map.root_masses.device))

    def __call__(self, error: Tensor, predicted: Tensor, s: Tensor) -> Tensor:
        """Return the measure, (batch,), of errors of n̄ in the shape of states."""
        return mean_square(self.weight.to(error)[..., None] * error, predicted, s)
