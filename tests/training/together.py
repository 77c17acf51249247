"""Train a small map by `molflow.fit`, in as many processes as it is told or started in.

Arguments: OUT STEPS DEVICES JOINED. DEVICES of 0 leaves them to who has started the process. JOINED
says of how many processes' batches one batch is made.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import molflow
from molflow.brownian.increment import Increment, sample_increment
from molflow.files import write_arrays
from molflow.flow_map.lifted import LiftedFlowMap
from molflow.objectives.matching import matching_residual
from molflow.objectives.residuals import Residuals
from molflow.sde.ornstein_uhlenbeck import OrnsteinUhlenbeck
from molflow.training.loss_weight import LossWeight
from molflow.training.processes import first_process

SDE = OrnsteinUhlenbeck(1.0, 0.5)


class Mean(nn.Module):
    """A network of one hidden layer, in double precision."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def forward(self, s, t, x, z):
        return self.layers(torch.cat([x, z.flatten(1)], dim=-1))


def drawn(rank, number, index):
    """Return a batch of one process."""
    generator = torch.Generator().manual_seed(1000 * rank + 100 * number + index)
    x = torch.randn(32, 1, generator=generator, dtype=torch.float64)
    s = torch.zeros(32, dtype=torch.float64)
    t = s + 0.1 + torch.rand(32, generator=generator, dtype=torch.float64)
    return s, t, x, sample_increment(SDE.basis(2), t - s, x.shape, generator)


def joined(parts):
    """Return one batch of several."""
    s, t, x, increments = zip(*parts, strict=True)
    s, t, x = (torch.cat(values) for values in (s, t, x))
    z = torch.cat([increment.whitened() for increment in increments])
    return s, t, x, Increment.from_whitened(SDE.basis(2), t - s, z)


def main(out: str, steps: str, devices: str, together: str) -> None:
    """Train, and write the weights and the losses."""

    def batches(epoch):
        ranks = range(int(together)) if int(together) > 1 else [epoch.rank]
        for k in range(epoch.count):
            yield joined([drawn(rank, epoch.number, k) for rank in ranks])

    def objective(flow_map, teacher, batch):
        s, t, x, _ = batch
        values = matching_residual(flow_map, s, x, -torch.sin(2.0 * x))
        return Residuals(values, s, t, {})

    torch.manual_seed(0)
    rows: list[dict] = []
    settings = molflow.Optimisation(
        steps=int(steps), steps_per_epoch=5, learning_rate=0.05, learning_rate_warmup=1,
        learning_rate_decay=0, ema_decay=0.8, teacher_decay=0.5,
    )  # fmt: skip
    found = molflow.fit(
        LiftedFlowMap(Mean(), SDE, SDE.basis(2)), objective, batches, settings,
        weight=LossWeight(2.0, 0.01).double(), out=Path(out), device="cpu",
        devices=int(devices) or None,
        write=lambda flow_map, steps, found: rows.__setitem__(slice(None), found),
    )  # fmt: skip
    if first_process():
        weights = {name: value.numpy() for name, value in found.network.named_parameters()}
        write_arrays(
            Path(out) / "weights.npz",
            losses=np.array([row["loss/weighted"] for row in rows]), **weights,
        )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
