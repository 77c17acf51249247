"""Where a flow came from."""

import torch
from toy_maps import gaussian_map, random_map, state

from molflow.exact.density import arrive
from molflow.exact.inversion import origin, walked_back
from molflow.maps.denoiser.probability_flow import ProbabilityFlow, flow_times
from molflow.maps.denoiser.tangent_mean import TangentMean


def inverted(flow_map, times, y, tolerance=1e-8):
    flow, mean = ProbabilityFlow(flow_map, times), TangentMean(flow_map)
    with torch.no_grad():
        return origin(flow, lambda x: arrive(lambda rows: flow.rows(rows, mean), x), y, tolerance)


def test_the_start_is_found_again():
    flow_map = random_map().double()
    flow = ProbabilityFlow(flow_map, flow_times(flow_map, 3, 0.3))
    x = 8.0 * state(6, 5, 1, 0)[0]
    with torch.no_grad():
        y = flow(x)
    found = inverted(flow_map, flow.times, y)
    assert found.found.all()
    assert (found.arrival.positions - y).abs().max() < 1e-8
    assert torch.allclose(found.start, x, atol=1e-4)


def test_the_flow_walked_back_is_that_of_the_denoiser():
    """A Gaussian's flow stretches by the ratio of its widths."""
    flow_map = gaussian_map(0.5)
    flow = ProbabilityFlow(flow_map, flow_times(flow_map, 4, 0.2))
    y = state(2, 5, 1, 1)[0]
    ratio = ((0.25 + flow_map.sde.sigma_max**2) / (0.25 + 0.2**2)) ** 0.5
    back = walked_back(flow, y)
    assert torch.allclose(back, ratio * y, rtol=0.02, atol=0.02)


def test_an_end_that_no_start_has_is_not_found():
    flow_map = random_map().double()
    flow = ProbabilityFlow(flow_map, [1.0, 3.0])
    mean = TangentMean(flow_map)

    def flat(rows):  # all ends on one sphere: an end off it has no start
        size = rows[0].square().sum((1, 2), keepdim=True).sqrt()
        unit = rows[0] / size
        along = (rows[1:] * unit).sum((2, 3), keepdim=True)
        return torch.cat([unit.unsqueeze(0), (rows[1:] - along * unit) / size])

    y = 3.0 * state(2, 5, 1, 0)[0]
    flow.rows = lambda rows, _: flat(rows)
    with torch.no_grad():
        found = origin(flow, lambda x: arrive(lambda rows: flow.rows(rows, mean), x), y, 1e-6)
    assert not found.found.any()
