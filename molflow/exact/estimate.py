"""`molflow estimate`: a mean at many network calls from many samples at few, on shared paths."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import mdtraj
import numpy as np
import torch

from molflow.analysis.files.own_files import check_own_file
from molflow.errors import MolflowError
from molflow.exact.levels import Level, allocate, best_levels, pilot_levels, price
from molflow.exact.observables import observable
from molflow.files import read_json, replacing, writable_folder, write_json
from molflow.maps.denoiser.draw import BLOCK, draw_blocks, flow_blocks
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.parts import alone, claim_parts, kept_array, parts_of
from molflow.progress import track
from molflow.seeds import derive_seed
from molflow.training.checkpoint import Checkpoint, open_checkpoint

#: Steps that levels are chosen from.
STEPS = (1, 2, 4, 8, 16, 32, 64)
#: Paths of the pilot: two blocks.
PILOT = 128
#: Blocks that are drawn at once.
_BLOCKS = 4
#: Share of a single sample in a sum of squares above which its variance is not known.
_HEAVY = 0.5
#: What the mean is of, and what it is not.
STATEMENT = (
    "the mean of the map at its finest steps: the error of the jumps is removed, that of the "
    "denoiser is not"
)


@alone
def estimate(
    checkpoint: str | Path | Checkpoint,
    name: str,
    calls: int = 200_000,
    out: str | Path | None = None,
    steps: Sequence[int] = STEPS,
    flow: bool = False,
    path_seed: int = 0,
    device: str | None = None,
    progress: bool = True,
) -> dict:
    """Estimate the mean of an observable at the finest steps by multilevel Monte Carlo.

    A strong map gives nearly the same conformation on the same Brownian path at any number of
    steps, so that the mean at 64 calls is that at few, of many samples, plus means of differences
    on shared paths, of few. A pilot of `PILOT` paths at all steps tells the variances; levels and
    numbers of samples are those of the least variance for the calls that are left, and every level
    is then drawn from paths of its own.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
    name : str
        See `molflow.exact.observables.observable`.
    calls : int
        Network calls in all, those of the pilot included.
    out : path, optional
        JSON file. Finished batches are kept beside it until the end: the same call resumes.
    steps : sequence of int
        To choose levels from; the largest is the finest.
    flow : bool
        Couple the probability flow through its start, and not the strong map through its path.
    path_seed : int
    device : str, optional
        As for `molflow.sample`.
    progress : bool

    Returns
    -------
    dict
        JSON-safe: ``mean``, ``error`` (standard), ``interval`` (95 %), ``unit``, ``levels``,
        ``calls``, ``plain_error`` (of plain sampling at the finest steps for as many calls),
        ``factor`` by which the same error is cheaper, the pilot included; ``statement``.

    Raises
    ------
    MolflowError
        If there is no such observable, the calls do not pay for the pilot, or the variance of
        the observable is not known: its tail is too heavy, or the pilot saw one value alone.
    """
    checkpoint = open_checkpoint(checkpoint, device)
    checkpoint.check_use("sample")
    steps = sorted(set(steps))
    if len(steps) < 2 or steps[0] < 1:
        raise MolflowError(f"steps are {steps}: give two numbers or more, none below 1.")
    values, unit = observable(name, checkpoint.topology())
    spent = PILOT * sum(steps)
    if calls < 2 * spent:
        raise MolflowError(
            f"calls is {calls:,}, and the pilot takes {spent:,}: give at least {2 * spent:,}."
        )
    plan = {
        "weights_sha256": checkpoint.weights_hash, "observable": name, "calls": calls,
        "steps": steps, "flow": flow, "path_seed": path_seed,
    }  # fmt: skip
    parts = None
    if out is not None:
        out = Path(out)
        check_own_file(out, {"observable", "plan"})
        writable_folder(out.parent)
        if out.is_file() and (found := read_json(out)).get("plan") == plan:
            shutil.rmtree(parts_of(out), ignore_errors=True)  # of a process killed at its end
            return found
        parts = claim_parts(out, plan)
    draw = _Drawing(checkpoint, values, flow, path_seed, parts, progress)
    pilot = {k: draw.values("pilot", k, PILOT) for k in steps}
    _check_tails(name, pilot)
    terms = pilot_levels(pilot)
    levels = best_levels(terms)
    counts = allocate(levels, calls - spent, BLOCK)
    means, errors, rows = [], [], []
    for level, count in zip(levels, counts, strict=True):
        own = draw.values(f"level-{level.steps}", level.steps, count)
        if level.coarser is not None:
            own = own - draw.values(f"level-{level.steps}", level.coarser, count)
        # That none of the samples differed does not mean that none ever will.
        least = terms[None, steps[-1]].variance / (2 * count)
        variance = max(float(np.var(own, ddof=1)), least)
        means.append(float(own.mean()))
        errors.append(variance / count)
        rows.append(_row(level, count, variance, means[-1]))
    used = spent + sum(level.cost * count for level, count in zip(levels, counts, strict=True))
    mean, error = sum(means), sum(errors) ** 0.5
    plain = (terms[None, steps[-1]].variance * steps[-1] / used) ** 0.5
    result = {
        "observable": name,
        "unit": unit,
        "mean": mean,
        "error": error,
        "interval": [mean - 1.96 * error, mean + 1.96 * error],
        "finest": steps[-1],
        "calls": used,
        "plain_error": plain,
        "factor": (plain / error) ** 2 if error else None,
        "factor_without_pilot": terms[None, steps[-1]].variance * steps[-1] / price(levels),
        "coupled_by": "the start of the probability flow" if flow else "the Brownian path",
        "levels": rows,
        "statement": STATEMENT,
        "plan": plan,
    }
    if out is not None:
        write_json(out, result)
        if parts is not None:
            shutil.rmtree(parts)
    return result


def format_estimate(result: dict) -> str:
    """Return an estimate as text."""
    low, high = result["interval"]
    unit = f" {result['unit']}" if result["unit"] else ""
    lines = [
        f"{result['observable']} = {result['mean']:.4g}{unit}, 95 % interval {low:.4g} to "
        f"{high:.4g}: {result['statement']}.",
        f"{result['calls']:,} network calls, coupled by {result['coupled_by']}; plain sampling at "
        f"{result['finest']} calls would have an error of {result['plain_error']:.2g} instead of "
        f"{result['error']:.2g}, or cost {result['factor']:.2g} times as much.",
    ]
    for row in result["levels"]:
        what = f"{row['steps']} calls"
        if row["coarser"] is not None:
            what += f" less {row['coarser']}"
        lines.append(
            f"  {what}: {row['samples']:,} samples, variance {row['variance']:.3g}, mean "
            f"{row['mean']:+.4g}"
        )
    return "\n".join(lines)


class _Drawing:
    """Values of an observable along seeded paths, a batch at a time."""

    def __init__(self, checkpoint: Checkpoint, values, flow, path_seed, parts, progress):
        self.checkpoint, self.function, self.parts = checkpoint, values, parts
        self.blocks = flow_blocks if flow else draw_blocks
        self.path_seed, self.progress, self.topology = path_seed, progress, checkpoint.topology()

    def values(self, stage: str, steps: int, count: int) -> np.ndarray:
        """Return (count,) values at some steps; a stage has paths of its own."""
        seed = derive_seed(self.path_seed, "estimate", stage)
        blocks = -(-count // BLOCK)
        firsts = range(0, blocks, _BLOCKS)
        batches = []
        for first in track(firsts, f"{stage} at {steps} calls", self.progress):
            name = f"{stage}-{steps}-{first:07d}.npy"
            part = None if self.parts is None else self.parts / name
            wanted = range(first, min(first + _BLOCKS, blocks))
            if (found := kept_array(part, BLOCK * len(wanted))) is not None:
                batches.append(found)
                continue
            n_atoms = self.checkpoint.n_atoms
            flow_map = cast(DenoiserFlowMap, self.checkpoint.flow_map)  # of a kind that samples
            with torch.no_grad():
                x = self.blocks(flow_map, wanted, steps, seed, n_atoms)
            positions = self.checkpoint.scale * x.double().cpu().numpy()
            batches.append(self.function(mdtraj.Trajectory(positions, self.topology)))
            if part is not None:
                with replacing(part) as temporary:
                    np.save(temporary, batches[-1])
        return np.concatenate(batches)[:count]


def _check_tails(name: str, pilot: dict[int, np.ndarray]) -> None:
    finest = pilot[max(pilot)]
    if np.ptp(finest) == 0.0:
        raise MolflowError(
            f"{name} is {finest[0]:g} in all {len(finest)} samples of the pilot, so that its "
            "variance is not known and levels cannot be weighed: sample plainly, with so many "
            "samples that some differ."
        )
    if name.startswith("share:"):
        return  # of two values: one change in many paths is rare, not heavy
    for steps, values in pilot.items():
        squares = (values - values.mean()) ** 2
        if not np.isfinite(values).all() or squares.max() > _HEAVY * squares.sum():
            raise MolflowError(
                f"{name} has a heavy tail at {steps} network calls: one of {len(values)} samples "
                "decides its variance, so that levels cannot be weighed. Leave out the fewest "
                "steps, or sample plainly."
            )


def _row(level: Level, count: int, variance: float, mean: float) -> dict:
    return {
        "steps": level.steps, "coarser": level.coarser, "samples": count, "calls_each": level.cost,
        "variance": variance, "pilot_variance": level.variance, "mean": mean,
    }  # fmt: skip
