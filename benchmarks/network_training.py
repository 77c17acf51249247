"""Train the networks on alanine dipeptide for equal processor time, and score what they draw.

Used by ``networks.py``. What is finished is kept in a working folder and not made again.
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

from molflow.analysis.stereo import handedness, stereocentres
from molflow.data.dataset import TrainingData
from molflow.files import read_json, replacing, write_json
from molflow.maps.denoiser.batches import StepBatches, TimeLaw, scaled_positions
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.draw import draw
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.maps.denoiser.objective import StrongMapTraining
from molflow.maps.denoiser.stiff_norm import StiffNorm
from molflow.maps.denoiser.validation import EnsembleScore
from molflow.nn.graph import MolecularGraph
from molflow.objectives.matching import matching_residual, noised
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.seeds import derive_seed
from molflow.systems import load_system
from molflow.training.configuration import TrainingConfig
from molflow.training.run import distance_statistics

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
        self.config, flow_map = config, flow_map_of(network, config)
        distances = torch.tensor(graph.distances())
        pairs = torch.nonzero(torch.triu((distances == 1) | (distances == 2)))
        part = config.objective
        norm = StiffNorm(flow_map.sde, pairs, part.stiffness, part.stiff_below)
        self.module = StrongMapTraining(flow_map, config, norm)
        self.module._log = lambda *_: None
        self.optimiser = torch.optim.AdamW(
            self.module.parameters_to_train(), lr=config.learning_rate, betas=(0.9, 0.99)
        )
        self.sources = [
            StepBatches(
                positions,
                TimeLaw(flow_map.clock, part),
                flow_map.basis.size,
                config.batch_size,
                [local] * 10**6,
                config.seed,
                0,
            )
            for local in (config.batch_size, round(config.batch_size * part.local_share))
        ]
        self.count = 0

    def __call__(self, mixed: bool = True, rate: float = 1.0) -> None:
        """Take a step, `mixed` with long steps and the teacher, or of the local objective only."""
        batch = self.sources[mixed][self.count]
        for group in self.optimiser.param_groups:
            group["lr"] = rate * self.config.learning_rate
        loss = self.module.training_step(batch, self.count)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = self.module.parameters_to_train()
        nn.utils.clip_grad_norm_(parameters, self.config.gradient_clip)
        self.optimiser.step()
        self.module.on_train_batch_end()
        self.count += 1


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
    result = work / f"{name}.json"
    if result.is_file():
        return read_json(result)
    topology = load_system(SYSTEM).topology()
    graph = MolecularGraph.from_topology(topology)
    pairs = network.measured_pairs().numpy()
    network.set_statistics(*distance_statistics(data.train[::10] / data.scale, pairs))
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
            loss = validation_loss(step.module.averaged, held)
            curve.append({"seconds": round(spent, 1), "steps": step.count, "loss": loss})
            print(name, curve[-1], flush=True)
    flow_map = step.module.averaged.eval()
    with replacing(work / f"{name}.safetensors") as temporary:
        save_file({k: v.contiguous() for k, v in flow_map.state_dict().items()}, temporary)
    positions = data.scale * draw(flow_map, samples, nfe, derive_seed(0, "networks"), 22).numpy()
    scores = EnsembleScore(topology, data.validation)(positions)
    row = {
        "steps": step.count,
        "seconds": round(spent, 1),
        "learning_rate": rate * config.learning_rate,
        "curve": curve,
        "nfe": nfe,
        "samples": samples,
        "mirror_fraction": mirror_fraction(positions, topology, data.validation),
        **scores,
    }
    write_json(result, row)
    return row


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
