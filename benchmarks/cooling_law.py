"""The cooling law: temperature of a vibration under steps that see N coefficients of the noise.

    python benchmarks/cooling_law.py

Walks chains of a harmonic mode under underdamped Langevin dynamics with the exact conditional-mean
map and sampled increments, measures the temperatures of position and velocity for several steps h,
numbers N of Legendre coefficients and frictions, and compares them with the prediction of
``molflow.sde.harmonic``. Writes ``benchmarks/results/cooling_law.json`` and a picture. Four minutes
on one core.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import scipy
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from record import command_line, markdown, save, write_results

from molflow.brownian.basis import Basis
from molflow.brownian.increment import sample_increment
from molflow.sde.harmonic import HarmonicMode
from molflow.seeds import derive_seed

PERIOD = 1.0
FRICTION = 0.1  # times the period: an O-H stretch of 9 fs at 11/ps
RATIOS = (0.5, 1.0, 2.0, 3.0, 4.0)
ORDERS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16)
FRICTIONS = (0.03, 0.3, 1.0, 2 * math.pi, 4 * math.pi, 30.0)
FRICTION_CASES = ((1.0, 4), (2.0, 6), (2.0, 8))


def measure(mode: HarmonicMode, h: float, order: int, chains: int, seed: int) -> dict:
    """Return predicted and measured T_x/T and T_v/T, with standard errors over chains.

    Chains start at rest, so that all they have comes from the increments. Variances relax by a
    factor e in 1/friction at weak friction, in less than friction/frequency^2 at strong; twelve
    of these times are walked before twelve that are averaged over.
    """
    slowest = 1.0 / mode.friction + mode.friction / mode.frequency**2
    walked = math.ceil(12 * slowest / h)
    generator = torch.Generator().manual_seed(seed)
    unit = torch.tensor([mode.frequency, 1.0], dtype=torch.float64)
    state = torch.zeros(chains, 2, dtype=torch.float64)
    energy = torch.zeros_like(state)
    for k in range(2 * walked):
        increment = sample_increment(Basis(order), h, (chains,), generator, torch.float64)
        state = mode.step(state, increment)
        if k >= walked:
            energy += (state * unit).square() / walked
    predicted = mode.temperatures(h, order)
    means, errors = energy.mean(0).tolist(), (energy.std(0) / math.sqrt(chains)).tolist()
    return {
        axis: {"predicted": predicted[i], "measured": means[i], "error": errors[i]}
        for i, axis in enumerate(("t_x", "t_v"))
    } | {"steps": 2 * walked}


def needed(ratio: float, least: float) -> int:
    """Return the smallest N for which neither temperature falls below a share of the bath's."""
    mode = HarmonicMode(PERIOD, FRICTION / PERIOD)
    orders = range(1, 33)
    return next(n for n in orders if min(mode.temperatures(ratio * PERIOD, n)) >= least)


def deviations(rows: list[dict]) -> np.ndarray:
    """Return measured less predicted in standard errors."""
    return np.array([
        (row[axis]["measured"] - row[axis]["predicted"]) / row[axis]["error"]
        for row in rows for axis in ("t_x", "t_v")
    ])  # fmt: skip


def picture(summary: dict, path: Path) -> None:
    """Draw temperature against N, the N that is needed against h, and the part of friction."""
    figure = Figure(figsize=(13.0, 4.3), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for index, ratio in enumerate(RATIOS):
        _temperatures(left, summary["temperature"][f"{ratio:g}"], f"C{index}", f"h/P = {ratio:g}")
    left.set(xlabel="coefficients N", ylabel="temperature / bath", xticks=range(0, 17, 2))
    left.set_title(f"friction {FRICTION:g}/P", fontsize=11)

    ratios = np.arange(0.1, 5.01, 0.05)
    for percent, style in ((10, "C2-"), (1, "C0-"), (0.1, "C4-")):
        orders = [needed(ratio, 1 - percent / 100) for ratio in ratios]
        middle.step(ratios, orders, style, where="mid", label=f"T within {percent:g} %")
    middle.plot(ratios, 3.2 * ratios + 3, "k--", label="3.2 h/P + 3")
    middle.set(
        xlabel="h/P", ylabel="coefficients N", xlim=(0, 5), ylim=(0, 21), yticks=range(0, 21, 4)
    )
    middle.set_title(f"coefficients needed, friction {FRICTION:g}/P", fontsize=11)
    middle.legend(frameon=False, fontsize=9)

    for index, (ratio, order) in enumerate(FRICTION_CASES):
        rows = summary["friction"][f"{ratio:g}"][str(order)]
        label = f"h/P = {ratio:g}, N = {order}"
        _temperatures(right, rows, f"C{index}", label, lambda friction, ratio=ratio, order=order: (
            HarmonicMode(PERIOD, friction / PERIOD).temperatures(ratio * PERIOD, order)
        ))  # fmt: skip
    right.axvline(4 * math.pi, color="0.8", zorder=0)
    right.text(4 * math.pi, 0.02, "critical damping ", ha="right", color="0.4", fontsize=8)
    right.set(xscale="log", xlabel="friction × P")
    right.set_title("temperature against friction", fontsize=11)
    kinds = [
        Line2D([], [], color="k", marker="o", markersize=4),
        Line2D([], [], color="k", ls="--", marker="o", markersize=4, markerfacecolor="w"),
    ]
    for axes in (left, right):
        axes.set_ylim(0, 1.05)
        axes.axhline(1.0, color="0.8", zorder=0)
        colours = axes.legend(frameon=False, fontsize=9, loc="lower right")
        if axes is right:
            colours.set_loc("center left")
    left.add_artist(left.get_legend())
    left.legend(kinds, ["$T_x$", "$T_v$"], frameon=False, fontsize=9, loc="center right")
    save(figure, path)


def _temperatures(axes, rows: dict, colour: str, label: str, predict=None) -> None:
    """Draw measured points, and the prediction as lines through them or where it is given."""
    at = np.array([float(key) for key in rows])
    fine = at if predict is None else np.geomspace(at[0], at[-1], 100)
    for axis, (line, fill) in enumerate((("-", colour), ("--", "w"))):
        name = ("t_x", "t_v")[axis]
        curve = [row[name]["predicted"] for row in rows.values()]
        if predict is not None:
            curve = [predict(value)[axis] for value in fine]
        axes.plot(fine, curve, line, color=colour, lw=1.2)
        points = [row[name]["measured"] for row in rows.values()]
        axes.plot(at, points, "o", color=colour, markerfacecolor=fill, markersize=4,
                  label=label if axis == 0 else None)  # fmt: skip


def table(results: dict) -> str:
    """Return the position's temperature, predicted (measured), as a Markdown table."""
    temperature = results["summary"]["temperature"]
    orders = ["2", "4", "6", "8", "12", "16"]
    return markdown(["N", *orders], (
        [f"h/P = {ratio}", *(_cell(row[order]["t_x"]) for order in orders)]
        for ratio, row in temperature.items()
    ))  # fmt: skip


def _cell(row: dict) -> str:
    return f"{row['predicted']:.3f} ({row['measured']:.3f})"


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, seed=0)
    parser.add_argument("--chains", type=int, default=30000)
    options = parser.parse_args()
    start = time.perf_counter()

    def walk(friction: float, ratio: float, order: int) -> dict:
        seed = derive_seed(options.seed, f"{friction:g}", f"{ratio:g}", order)
        mode = HarmonicMode(PERIOD, friction / PERIOD)
        row = measure(mode, ratio * PERIOD, order, options.chains, seed)
        shown = "; ".join(
            f"{axis} {row[axis]['measured']:.4f} ({row[axis]['predicted']:.4f})"
            for axis in ("t_x", "t_v")
        )
        print(f"friction {friction:.3g}/P, h/P {ratio:g}, N = {order}: {shown}", flush=True)
        return row

    temperature = {
        f"{ratio:g}": {str(order): walk(FRICTION, ratio, order) for order in ORDERS}
        for ratio in RATIOS
    }
    friction = {}
    for ratio, order in FRICTION_CASES:
        row = {f"{value:.4g}": walk(value, ratio, order) for value in FRICTIONS}
        friction.setdefault(f"{ratio:g}", {})[str(order)] = row
    rows = [row for part in temperature.values() for row in part.values()]
    rows += [row for part in friction.values() for by in part.values() for row in by.values()]
    errors = deviations(rows)
    summary = {
        "friction_times_period": FRICTION,
        "temperature": temperature,
        "friction": friction,
        "coefficients_needed": {
            f"{ratio:g}": {"within_1_percent": needed(ratio, 0.99), "rule": 3.2 * ratio + 3}
            for ratio in RATIOS
        },
        "deviation_in_standard_errors": {
            "largest": float(np.abs(errors).max()),
            "root_mean_square": float(np.sqrt(np.mean(errors**2))),
            "compared": len(errors),
        },
    }
    write_results(
        options.out / "cooling_law.json",
        {
            "summary": summary,
            "chains": options.chains,
            "seed": options.seed,
            "seconds": round(time.perf_counter() - start, 1),
        },
        {"precision": "float64"},
        scipy=scipy.__version__,
    )
    picture(summary, options.out / "cooling_law.png")


if __name__ == "__main__":
    main()
