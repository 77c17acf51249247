"""Strong maps of a test equation with a known answer: which objective, how many coefficients.

    python benchmarks/strong_convergence.py

dX = (X - X^3) dt + sqrt(beta(t)) dW, beta = 0.1 + 19.9 t, X_0 ~ N(0, 1), 0 <= t <= 1. Trains one
small map for every objective and number N of Legendre coefficients, equal network, batches and
number of optimiser steps, and measures the mean squared error over paths and the points of the
coarse grid (t = 0 included) against Euler-Maruyama with 4,096 steps of the same path; beside them
Euler-Maruyama, a scheme of strong order 1.5 and the variance that N coefficients leave open. Writes
``benchmarks/results/strong_convergence.json`` and a picture. Finished models are kept in --work, so
that an interrupted run goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from record import against_steps, command_line, known, markdown, once, save, write_results
from torch import Tensor
from toy_objectives import BATCH, OBJECTIVES, POINTS, Levelled
from toy_training import StepNetwork, train, walk

from molflow.brownian.basis import Basis
from molflow.brownian.increment import Increment
from molflow.brownian.refine import split
from molflow.flow_map.base import FlowMap
from molflow.flow_map.lifted import LiftedFlowMap
from molflow.flow_map.plain import PlainFlowMap
from molflow.sde.double_well import DoubleWell
from molflow.solvers.euler_maruyama import euler_maruyama_step
from molflow.solvers.solved_paths import Problem, SolvedPaths, SolvedSteps, solve
from molflow.solvers.strong_order_1_5 import strong_order_1_5_step

STEPS = (1, 2, 4, 8, 16, 32, 64)
ORDERS = [1, 2, 3, 4, 8]
EQUATION = DoubleWell(beta_start=0.1, beta_end=20.0)
PROBLEM = Problem(
    sde=EQUATION,
    nonlinear=EQUATION.nonlinear,
    start=lambda count, generator: torch.randn(count, 1, generator=generator),
    grid=lambda steps: np.linspace(0.0, 1.0, steps + 1).tolist(),
    scheme=strong_order_1_5_step,
)
REFERENCE = dataclasses.replace(PROBLEM, scheme=euler_maruyama_step, fine=4096)


def describe(s: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """Return what the network sees of a step and its start, (B, 5)."""
    y = x / 1.5
    # Steps much shorter than 1e-2 look like one of no length: what is learned there holds.
    times = torch.stack([s, t, 0.2 * torch.log(t - s + 1e-2)], dim=-1)
    return torch.cat([times, y, torch.tanh(y)], dim=-1)


def build(objective: str, order: int, width: int) -> FlowMap:
    """Return an untrained map."""
    network = StepNetwork(describe, 5, 1, order, width, 3)
    kind = PlainFlowMap if objective == "published" else LiftedFlowMap
    return kind(network, EQUATION, Basis(order))


def errors(jump: Callable, truth: SolvedPaths, basis: Basis) -> dict[str, float | None]:
    """Return the mean squared error for each number of steps; None where it is not finite."""
    found = {}
    for level, steps in enumerate(reversed(STEPS)):
        states = walk(jump, truth.states[0], truth.times, truth.path(level, basis))
        wanted = truth.states[POINTS // steps :: POINTS // steps]
        squares = [(x - y).square().mean() for x, y in zip(states, wanted, strict=True)]
        # The point t = 0, where there is no error, counts.
        mean = float(sum(squares)) / (steps + 1)
        found[steps] = mean if math.isfinite(mean) else None
    return {str(steps): found[steps] for steps in STEPS}


def floor(truth: SolvedPaths, order: int, seed: int, inner: int = 4) -> dict[str, float]:
    """Return half the variance that X_1 has given X_0 and I^0..I^{order-1}, and its error.

    For the start and the coefficients of each path of `truth`, solutions on `inner` paths that
    share them: the halves of every interval are drawn given the whole, down to 1,024 steps. Half,
    because the error is averaged over the two ends of the step and there is none at t = 0.
    """
    generator = torch.Generator().manual_seed(seed)
    basis = Basis(max(order, 2))
    x = truth.states[0].repeat_interleave(inner, 0)
    z = torch.randn(*x.shape, basis.size, generator=generator)
    z[..., :order] = truth.levels[-1][0, ..., :order].repeat_interleave(inner, 0)
    ahead, s = [(0, Increment.from_whitened(basis, torch.tensor(1.0), z))], 0.0
    while ahead:
        depth, increment = ahead.pop()
        if depth == 10:
            start = torch.tensor(s)
            end = start + increment.h
            x = strong_order_1_5_step(EQUATION, EQUATION.nonlinear, start, end, x, increment)
            s += float(increment.h)
        else:
            xi = torch.randn(increment.features.shape, generator=generator)
            left, right = split(increment, 0.5, xi)
            ahead += [(depth + 1, right), (depth + 1, left)]
    half = 0.5 * x.reshape(-1, inner).var(dim=1)
    return {"value": float(half.mean()), "error": float(half.std() / len(half) ** 0.5)}


def baselines(truth: SolvedPaths) -> dict[str, dict]:
    """Return the errors of two integrators on the same paths."""

    def measure(scheme):
        def jump(s, t, x, increment):
            return scheme(EQUATION, EQUATION.nonlinear, s, t, x, increment)

        return errors(jump, truth, Basis(2))

    return {
        "euler_maruyama": measure(euler_maruyama_step),
        "strong_order_1_5": measure(strong_order_1_5_step),
    }


def picture(summary: dict, path: Path) -> None:
    """Draw error against steps: objectives at N = 4, and the best objective for every N."""
    figure = Figure(figsize=(10.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    marks = dict(zip(OBJECTIVES, "os^vDPX*", strict=True))
    for name in (name for name in OBJECTIVES if "4" in summary["mse"].get(name, {})):
        _line(left, summary["mse"][name]["4"], marks[name] + "-", name.replace("_", " "))
    for name, line in (("euler_maruyama", "k--"), ("strong_order_1_5", "k:")):
        for axes in (left, right):
            row = next(iter(summary["mse"][name].values()))
            _line(axes, row, line, name.replace("_", " ").replace("1 5", "1.5"))
    for index, (order, row) in enumerate(summary["mse"]["best"].items()):
        _line(right, row, "os^vD"[index] + "-", f"N = {order}")
        right.plot(1.0, summary["floor"][order], "_", color="k", markersize=18)
    left.set_title("objectives, N = 4 coefficients", fontsize=11)
    right.set_title(f"{summary['best']}; bars: the least possible in one step", fontsize=11)
    left.set_ylabel("mean squared error")
    for axes in (left, right):
        against_steps(axes, STEPS, xlabel="steps", ylim=(1e-7, 10.0))
        axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def table(results: dict, order: str = "4") -> str:
    """Return the errors of all objectives and integrators as a Markdown table, best first."""
    summary = results["summary"]
    rows = {name: row[order] for name, row in summary["mse"].items() if name != "best"}
    names = sorted(rows, key=lambda name: rows[name]["8"] or math.inf)
    return markdown(["steps", *STEPS], (
        [name.replace("_", " "), *map(_cell, (rows[name][str(k)] for k in STEPS))]
        for name in names
    ))  # fmt: skip


def _cell(value: float | None) -> str:
    return "diverges" if value is None else f"{value:.2g}"


def _line(axes, row: dict, style: str, label: str) -> None:
    axes.plot(*known(row), style, label=label, markersize=5)


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, work=Path("outputs/strong_convergence"), seed=0)
    parser.add_argument("--orders", type=int, nargs="+", default=ORDERS)
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES), choices=OBJECTIVES)
    parser.add_argument("--training-steps", type=int, default=6000)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--paths", type=int, default=16384)
    options = parser.parse_args()
    folder = options.work / "-".join(
        str(value) for value in (options.training_steps, options.width, options.paths, options.seed)
    )
    generator = torch.Generator().manual_seed(1000 + options.seed)
    with torch.no_grad():
        seen = Basis(max(*options.orders, *ORDERS))
        truth = solve(REFERENCE, options.paths, seen, generator)
    mse: dict = {}
    for objective in options.objectives:
        mse[objective] = {}
        for order in options.orders:

            def make(objective=objective, order=order) -> dict:
                torch.manual_seed(options.seed)
                flow_map = build(objective, order, options.width)
                steps = SolvedSteps(PROBLEM, Basis(order), options.seed, refresh=50, pools=24)
                trained, seconds = train(
                    flow_map, Levelled(objective, steps), options.training_steps, 0.99
                )
                with torch.no_grad():
                    found = errors(trained, truth, Basis(order))
                return {"mse": found, "seconds": round(seconds, 1)}

            row = once(folder / f"{objective}-{order}.json", make)
            mse[objective][str(order)] = row["mse"]
            shown = ", ".join(f"{k}: {v:.3g}" for k, v in row["mse"].items() if v is not None)
            print(f"{objective}, N = {order} ({row['seconds']} s): {shown}", flush=True)
    with torch.no_grad():
        floors = {
            str(order): once(
                folder / f"floor-{order}.json", lambda order=order: floor(truth, order, 17)
            )
            for order in options.orders
        }
        walked = once(folder / "baselines.json", lambda: baselines(truth))

    # The recommended objective: the least error at one step, on average over N.
    def at_one(name):
        return sum(math.log(mse[name][order]["1"] or math.inf) for order in mse[name])

    best = min((name for name in mse if name != "published"), key=at_one, default="published")
    # The integrators know nothing of N.
    integrators = {name: dict.fromkeys(floors, row) for name, row in walked.items()}
    summary = {
        "mse": {**mse, "best": mse[best], **integrators},
        "floor": {order: row["value"] for order, row in floors.items()},
        "best": best,
    }
    seconds = {
        path.stem: json.loads(path.read_text(encoding="utf-8")).get("seconds")
        for path in sorted(folder.glob("*-*.json"))
    }
    write_results(
        options.out / "strong_convergence.json",
        {
            "summary": summary,
            "floor_error": {order: row["error"] for order, row in floors.items()},
            "training_seconds": {name: value for name, value in seconds.items() if value},
            "training_steps": options.training_steps,
            "batch": BATCH,
            "network": {"width": options.width, "layers": 3},
            "paths": options.paths,
            "reference_steps": REFERENCE.fine,
            "seed": options.seed,
        },
    )
    picture(summary, options.out / "strong_convergence.png")


if __name__ == "__main__":
    main()
