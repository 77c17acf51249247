"""The shipped map with one defect each."""

from dataclasses import replace

import torch
from torch import nn

from molflow.brownian.increment import sample_increment
from molflow.checking.subject import Subject
from molflow.flow_map.centring import centre
from molflow.maps.denoiser.flow_map import DenoiserFlowMap


class Altered(nn.Module):
    """A network whose answer is changed by a function of (network, x, z, s, t)."""

    def __init__(self, network, change):
        super().__init__()
        self.network, self.change = network, change

    def forward(self, x, z, s, t):
        return self.change(self.network, x, z, s, t)


class Weak(nn.Module):
    """A map right in law alone: it draws its own noise."""

    def __init__(self, flow_map):
        super().__init__()
        self.flow_map, self.generator = flow_map, torch.Generator().manual_seed(0)
        self.sde, self.basis, self.clock = flow_map.sde, flow_map.basis, flow_map.clock

    def forward(self, s, t, x, increment):
        own = sample_increment(self.basis, increment.h, x.shape, self.generator)
        z = centre(own.whitened().movedim(-1, 1)).movedim(1, -1)
        return self.flow_map(s, t, x, type(own).from_whitened(self.basis, own.h, z))


def with_map(checkpoint, flow_map):
    return replace(checkpoint, flow_map=flow_map)


def altered(checkpoint, change):
    whole = checkpoint.flow_map
    network = Altered(whole.network, change)
    return with_map(checkpoint, DenoiserFlowMap(network, whole.sde, whole.basis.order, whole.clock))


def leaning(network, x, z, s, t):
    """Something that depends on how the axes lie."""
    return network(x, z, s, t) + 1e-3 * x * torch.tensor([1.0, 0.0, 0.0], dtype=x.dtype)


def achiral(network, x, z, s, t):
    """A network that mirrors with its input."""
    return 0.5 * (network(x, z, s, t) - network(-x, -z, s, t))


def mirrored(network, x, z, s, t):
    """Everything seen in a mirror."""
    return -network(-x, -z, s, t)


def untrained(network, x, z, s, t):
    return torch.zeros_like(x)


def heated(network, x, z, s, t):
    """The last jump leaves a hundredth of a nanometre of noise too much."""
    last = (t > 8.5).to(x.dtype).reshape(-1, 1, 1)
    width = 0.06 / (10.0 * torch.exp(-s)).reshape(-1, 1, 1)
    return network(x, z, s, t) + last * width * z[..., 0]


def subject(checkpoint, n, steps=2, seed=1):
    return Subject(checkpoint, steps, n, seed, jobs=1)
