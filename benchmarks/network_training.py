"""Train the networks on alanine dipeptide for equal processor time, and score what they draw.

Used by ``networks.py``.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import mdtraj
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from molflow.analysis.molecule.stereo import handedness, stereocentres
from molflow.data.dataset import TrainingData
from molflow.data.distances import distance_statistics
from molflow.files import replacing
from molflow.maps.denoiser.batches import StepBatches, TimeLaw, scaled_positions
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.draw import draw
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.maps.denoiser.objective import DenoiserObjective
from molflow.maps.denoiser.stiff_norm import StiffNorm, stiff_pairs
from molflow.maps.denoiser.validation import EnsembleScore
from molflow.nn.graph import MolecularGraph
from molflow.objectives.matching import matching_residual, noised
from molflow.objectives.registry import OBJECTIVES
from molflow.objectives.weighting import weighted
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.seeds import derive_seed
from molflow.systems import load_system
from molflow.training.averages import Averages
from molflow.training.configuration import TrainingConfig
from molflow.training.fit import Epoch
from molflow.training.loss_weight import LossWeight

SYSTEM = "alanine_dipeptide"
#: Share of the time after which long steps are trained too, and the rate falls.
LOCAL = 0.6


def flow_map_of(network: nn.Module, config: TrainingConfig) -> DenoiserFlowMap:
    """Return the flow map of a network, with the equation and the clock of a configuration."""
    sde = ReverseDiffusion(config.map.sigma_max, config.map.sigma_min, config.map.eta)
    centre = math.log(config.map.sigma_max / config.map.focus)
    clock = StepClock(sde.duration, centre, config.map.focus_weight)
    return DenoiserFlowMap(network, sde, config.map.order, clock)


class Step:
    """One training step at a time, as `molflow train` takes them.

    Parameters
    ----------
    network : nn.Module
    config : TrainingConfig
    positions : Tensor, (frames, atoms, 3)
        At unit scale.
    graph : MolecularGraph
    """

    def __init__(self, network, config: TrainingConfig, positions: Tensor, graph: MolecularGraph):
        self.config, self.flow_map = config, flow_map_of(network, config)
        part, sde = config.objective, self.flow_map.sde
        norm = StiffNorm(sde, stiff_pairs(graph), part.stiffness, part.stiff_below)
        self.objective = DenoiserObjective(OBJECTIVES[part.family], norm)
        self.weight = LossWeight(sde.duration, part.least_variance)
        self.averages = Averages(self.flow_map, kept=config.ema_decay, teacher=config.teacher_decay)
        self.parameters = [*self.flow_map.parameters(), *self.weight.parameters()]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=(0.9, 0.99)
        )
        law, size = TimeLaw(self.flow_map.clock, part), config.batch_size
        self.sources = [
            StepBatches(
                positions, law, self.flow_map.basis.size, size, [local] * 10**6, config.seed,
                Epoch(0, 0, 10**6),
            )
            for local in (size, round(size * part.local_share))
        ]  # fmt: skip
        self.count = 0

    def __call__(self, mixed: bool = True, rate: float = 1.0) -> None:
        """Take a step, `mixed` with long steps and the teacher, or of the local objective only."""
        batch = self.sources[mixed][self.count]
        for group in self.optimiser.param_groups:
            group["lr"] = rate * self.config.learning_rate
        found = self.objective(self.flow_map, self.averages["teacher"], batch)
        weights = torch.cat([self.weight(one.s, one.t) for one in found])
        loss = weighted(torch.cat([one.values for one in found]), weights)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        self.optimiser.step()
        self.count += 1
        self.averages.update(self.flow_map, self.count)


def train(
    name: str,
    network: nn.Module,
    config: TrainingConfig,
    data: TrainingData,
    seconds: float,
    work: Path,
    rate: float = 1.0,
    nfe: int = 32,
    samples: int = 512,
) -> dict:
    """Train for so many seconds of processor time; return the curve and scores of samples.

    The learning rate is `rate` times that of the configuration. The curve has the local loss of the
    averaged weights on validation frames, the same noise for all networks. Processor time of
    scoring is not counted.
    """
    topology = load_system(SYSTEM).topology()
    graph = MolecularGraph.from_topology(topology)
    pairs = network.measured_pairs().numpy()
    found = distance_statistics(data.train[::10] / data.scale, pairs)
    network.set_statistics(*(torch.from_numpy(part).float() for part in found))
    step = Step(network, config, scaled_positions(data.train, data.scale), graph)
    held = scaled_positions(data.validation, data.scale)
    spent, curve = 0.0, []
    while spent < seconds:
        begun = time.process_time()
        share = spent / seconds
        fall = max(0.0, (share - LOCAL) / (1.0 - LOCAL))
        warm = min(1.0, (step.count + 1) / 50)
        step(share > LOCAL, rate * warm * 0.5 * (1.0 + math.cos(math.pi * fall)))
        spent += time.process_time() - begun
        if spent >= (len(curve) + 1) * seconds / 10:
            loss = validation_loss(step.averages["kept"], held)
            curve.append({"seconds": round(spent, 1), "steps": step.count, "loss": loss})
            print(name, curve[-1], flush=True)
    flow_map = step.averages["kept"].eval()
    with replacing(work / f"{name}.safetensors") as temporary:
        save_file({k: v.contiguous() for k, v in flow_map.state_dict().items()}, temporary)
    positions = data.scale * draw(flow_map, samples, nfe, derive_seed(0, "networks"), 22).numpy()
    return {
        "steps": step.count,
        "seconds": round(spent, 1),
        "learning_rate": rate * config.learning_rate,
        "curve": curve,
        "nfe": nfe,
        "samples": samples,
        "mirror_fraction": mirror_fraction(positions, topology, data.validation),
        **EnsembleScore(topology, data.validation)(positions),
    }


@torch.no_grad()
def validation_loss(flow_map: DenoiserFlowMap, held: Tensor, count: int = 256) -> float:
    """Return the mean local residual over noise levels, on fixed frames with fixed noise."""
    generator = torch.Generator().manual_seed(1)
    clean = held[torch.randint(len(held), (count,), generator=generator)]
    normal = torch.randn(clean.shape, generator=generator)
    normal = normal - normal.mean(1, keepdim=True)
    s = (torch.arange(count) + 0.5) / count * flow_map.sde.duration
    x = noised(clean, flow_map.sde.sigma(s), normal)
    parts = zip(s.split(64), x.split(64), clean.split(64), strict=True)
    return float(torch.cat([matching_residual(flow_map, *part) for part in parts]).mean())


def mirror_fraction(positions, topology: mdtraj.Topology, reference) -> float:
    """Return the share of samples whose stereocentre is of the other hand than the data's."""
    centres = stereocentres(topology)
    usual = np.sign(handedness(reference, centres).mean(axis=0))
    return float(np.mean(np.any(handedness(positions, centres) != usual, axis=1)))
