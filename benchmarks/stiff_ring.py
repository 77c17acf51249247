"""A thin ring with an exact denoiser: the published clock and parametrisation beside ours.

    python benchmarks/stiff_ring.py

Seven Gaussians on a circle of radius 1.3, 0.012 wide across it and 0.12 along it: a bond and a
torsion in two dimensions. Strong maps with the same network, batch size and number of optimiser
steps, and with the exact denoiser wherever training wants a drift:

- ours: clock log sigma, exact lift and martingale, a denoiser as output, whitened features, jumps
  denser where the sample is decided; direct matching of solved paths;
- published: linear-beta clock, X_t = x + h n + g(s) I^0, coefficients as they are; short
  Euler-Maruyama steps on three quarters of the batch, the semigroup equation on the rest;
- published_direct: the published clock and parametrisation, trained as ours is.

Beside them exponential Euler steps of our equation with the exact denoiser itself, which need no
training. Scores: W1 between the radii of the samples and those of the mixture in ring widths, and
the total variation between their populations. Writes ``benchmarks/results/stiff_ring.json`` and a
picture. Finished models are kept in --work, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from record import against_steps, command_line, known, markdown, once, save, write_results
from ring import ORDER, OURS, PUBLISHED, RING, Side, scores
from ring_training import BATCH, DirectMatching, Published
from torch import Tensor, nn
from toy_training import StepNetwork, train, walk

from molflow.brownian.chen import dyadic
from molflow.brownian.increment import sample_increment
from molflow.brownian.walk import end_of
from molflow.flow_map.base import FlowMap
from molflow.flow_map.frozen import FrozenFlowMap
from molflow.flow_map.plain import PlainFlowMap
from molflow.sde.base import over_batch

STEPS = (1, 2, 4, 8, 16, 32, 64)
FREQUENCIES = math.pi / 2.0 * 2.0 ** torch.arange(6)


def describe(span: float, s: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """Return both times on a clock of a length, the state, and sines of all, (B, 52)."""
    place = torch.cat([torch.stack([s, t], dim=-1) / span, x / 2.0], dim=-1)
    phase = (place[..., None] * FREQUENCIES).flatten(1)
    return torch.cat([place, torch.sin(phase), torch.cos(phase)], dim=-1)


class RingFlowMap(FlowMap):
    """The denoiser's preconditioning around the network, as for molecules: c_skip x + c_out F."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.sde, self.basis = network, OURS.sde, OURS.basis

    def mean(self, s: Tensor, t: Tensor, x: Tensor, whitened: Tensor) -> Tensor:
        sigma = over_batch(self.sde.sigma(s), x)
        scale = torch.rsqrt(1.0 + sigma.square())
        visible = torch.sqrt(-torch.expm1(-2.0 * (t - s)))[:, None, None]
        out = self.network(s, t, scale * x, visible * whitened)
        return scale.square() * x + sigma * scale * out

    def unit(self, s: Tensor) -> Tensor:
        sigma = self.sde.sigma(s)
        return sigma * torch.rsqrt(1.0 + sigma.square())


TRAININGS = {
    "ours": (OURS, lambda seed: DirectMatching(OURS, 4, seed)),
    "published": (PUBLISHED, lambda seed: Published(PUBLISHED, seed)),
    "published_direct": (PUBLISHED, lambda seed: DirectMatching(PUBLISHED, 16, seed)),
}


def build(side: Side, width: int, layers: int) -> FlowMap:
    """Return an untrained map."""
    described = partial(describe, side.sde.duration)
    network = StepNetwork(described, 52, 2, side.basis.size, width, layers)
    if side is PUBLISHED:
        return PlainFlowMap(network, side.sde, side.basis)
    return RingFlowMap(network)


def walks(flow_map: FlowMap, side: Side, count: int, seed: int) -> dict[int, Tensor]:
    """Return `count` samples for each number of steps, all from the same starts and paths."""
    generator = torch.Generator().manual_seed(seed)
    start = side.states(torch.zeros(count), generator)
    times = torch.tensor(side.grid(STEPS[-1]), dtype=torch.float64)
    path = [
        sample_increment(side.basis, h, (count, 2), generator) for h in torch.diff(times).float()
    ]
    found = {
        len(coarse): end_of(walk(flow_map, start, times.float(), coarse)) for coarse in dyadic(path)
    }
    return dict(sorted(found.items()))


def picture(summary: dict, clouds: dict, path: Path) -> None:
    """Draw the scores against steps, and the samples of four steps."""
    figure = Figure(figsize=(16.0, 3.6), layout="constrained")
    left, middle, *rest = figure.subplots(1, 5)
    names = {"ours": "o-", "published": "s--", "published_direct": "d-.", "exponential_euler": "^:"}
    for axes, name, title, goals in (
        (left, "w1", "radial W1 / ring width", {4: 0.3, 8: 0.15}),
        (middle, "tv", "populations, total variation", {4: 0.02, 8: 0.02}),
    ):
        for side, mark in names.items():
            axes.plot(*known(summary[side], name), mark, label=side.replace("_", " "))
        axes.plot(list(goals), list(goals.values()), "k_", markersize=12, label="goal")
        axes.axhline(summary["perfect_samples"][name], color="0.6", lw=1, label="perfect samples")
        against_steps(axes, STEPS, xlabel="steps", title=title)
    left.legend(frameon=False, fontsize=7, loc="lower left")
    for axes, (side, points) in zip(rest, clouds.items(), strict=True):
        axes.plot(*np.asarray(points).T, ".", markersize=1.0, color="C0")
        axes.set(
            title=f"{side.replace('_', ' ')}, 4 steps",
            aspect="equal",
            xlim=(-1.8, 1.8),
            ylim=(-1.8, 1.8),
        )
    save(figure, path)


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, work=Path("outputs/stiff_ring"))
    parser.add_argument("--training-steps", type=int, default=12000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("-n", type=int, default=50000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    settings = options.training_steps, options.width, options.layers, options.n
    folder = options.work / "-".join(str(part) for part in settings)
    generator = torch.Generator().manual_seed(2000)
    truth = RING.sample(1_000_000, generator)
    rows: dict[str, list] = {}
    for seed in options.seeds:
        for name, (side, objective) in TRAININGS.items():

            def make(side=side, objective=objective, seed=seed) -> dict:
                torch.manual_seed(seed)
                flow_map = build(side, options.width, options.layers)
                size = sum(p.numel() for p in flow_map.parameters())
                flow_map, seconds = train(flow_map, objective(seed), options.training_steps, 0.998)
                with torch.no_grad():
                    found = walks(flow_map, side, options.n, 3000 + seed)
                return {
                    "scores": {str(k): scores(x, truth) for k, x in found.items()},
                    "parameters": size,
                    "seconds": round(seconds, 1),
                    "cloud": found[4][:4000].tolist(),
                }

            row = once(folder / f"{name}-{seed}.json", make)
            rows.setdefault(name, []).append(row)
            print(f"{name}, seed {seed} ({row['seconds']} s): {_line(row['scores'])}", flush=True)
    exact = walks(FrozenFlowMap(OURS.denoise, OURS.sde, OURS.basis), OURS, options.n, 3000)
    euler = {str(k): scores(x, truth) for k, x in exact.items()}
    print(f"exponential Euler: {_line(euler)}", flush=True)
    summary = {name: _mean([row["scores"] for row in found]) for name, found in rows.items()}
    summary |= {
        "exponential_euler": euler,
        "perfect_samples": scores(RING.sample(options.n, generator), truth),
    }
    write_results(
        options.out / "stiff_ring.json",
        {
            "summary": summary,
            "per_seed": {name: [row["scores"] for row in found] for name, found in rows.items()},
            "training_seconds": {n: [row["seconds"] for row in found] for n, found in rows.items()},
            "parameters": {name: found[0]["parameters"] for name, found in rows.items()},
            "training_steps": options.training_steps,
            "batch": BATCH,
            "network": {"width": options.width, "layers": options.layers},
            "order": {"ours": ORDER, "published": PUBLISHED.basis.order},
            "n": options.n,
            "seeds": options.seeds,
        },
    )
    clouds = {name: found[0]["cloud"] for name, found in rows.items()}
    picture(summary, clouds, options.out / "stiff_ring.png")


def table(results: dict) -> str:
    """Return radial W1 and total variation of all maps as a Markdown table."""
    summary = results["summary"]
    return markdown(["steps", *STEPS], (
        [name.replace("_", " "), *(_cell(summary[name][str(k)]) for k in STEPS)]
        for name in (*TRAININGS, "exponential_euler")
    ))  # fmt: skip


def _cell(row: dict) -> str:
    return f"{row['w1']:.2g} / {100 * row['tv']:.1f} %"


def _mean(rows: list[dict]) -> dict:
    """Mean over seeds of every score; None where one is not finite."""
    return {
        steps: {
            name: float(np.mean(values)) if all(v is not None for v in values) else None
            for name in ("w1", "tv")
            for values in [[row[steps][name] for row in rows]]
        }
        for steps in rows[0]
    }


def _line(found: dict[str, dict]) -> str:
    """W1/TV of every number of steps on one line."""
    return ", ".join(
        f"{k}: -" if v["w1"] is None else f"{k}: {v['w1']:.3g}/{v['tv']:.3g}"
        for k, v in found.items()
    )


if __name__ == "__main__":
    main()
