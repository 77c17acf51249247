"""What a conformation of alanine dipeptide costs, by network calls and how they are computed.

    python benchmarks/sampling_speed.py --work WORK

Processor time of the shipped map in single precision and with products in bfloat16, with and
without machine code by `torch.compile`, turn about with molecular dynamics under parallel tempering
and under a static bias, one thread each; and scores of what the two precisions give, on the
flattened reference. Independent conformations of the map are samples of its own law; those of
dynamics are frames over their statistical inefficiency, and times their effective share. Wants an
idle core. Writes ``benchmarks/results/sampling_speed.json``.
"""

from __future__ import annotations

import copy
from functools import partial
from itertools import product

import openmm
import torch
from dipeptide_scores import SYSTEM, YARDSTICK
from measuring import interleaved
from record import command_line, markdown, once, write_results

from molflow.analysis.statistics import torsion_inefficiency
from molflow.analysis.weighting import effective_size, normalised
from molflow.comparison import compare, find_reference
from molflow.maps.denoiser.draw import BLOCK
from molflow.md.bias import load_bias
from molflow.md.build import make_simulation
from molflow.nn.precision import PRECISIONS
from molflow.sampling.ensemble import Batches, sample
from molflow.step_study.summary import figures
from molflow.systems import load_system
from molflow.training.checkpoint import Checkpoint, load_checkpoint

CALLS, BLOCKS, ROUNDS, MD_STEPS = (1, 2, 4, 8), 4, 7, 4000
#: How calls are computed, as `sample` is told it.
WAYS = {
    f"{precision}{', compiled' if compiled else ''}": {
        "precision": precision, "compiled": compiled,
    }
    for compiled, precision in product((False, True), PRECISIONS)
}  # fmt: skip
#: Figures that are kept, in kT, and shares.
KEPT = ("fes_rmse", "energy_w2")


def md_costs() -> dict[str, float]:
    """Return the picoseconds of dynamics that one independent conformation takes, by both ways."""
    tempered, flattened = find_reference(SYSTEM), find_reference(YARDSTICK)
    replicas = len(tempered.provenance["simulation"]["plan"]["temperatures"])
    frames = torsion_inefficiency(tempered.torsions, tempered.replica)
    weights = normalised(flattened.log_weights)
    weighted = torsion_inefficiency(flattened.torsions, flattened.replica, weights=weights)
    share = effective_size(len(weights), weights) / len(weights)
    return {
        "tempering": frames * tempered.frame_interval_ps * replicas,
        "static bias": weighted * flattened.frame_interval_ps / share,
    }


def times(checkpoint: Checkpoint) -> dict:
    """Return processor seconds of a conformation by calls and ways, and of dynamics."""
    system = load_system(SYSTEM)
    tasks: dict = {}
    for way, options in WAYS.items():
        batches = Batches(checkpoint, options | {"path_seed": 0, "blocks_per_batch": BLOCKS})
        for calls in CALLS:
            # Machine code is made once for all numbers of calls.
            again = copy.copy(batches)
            again.plan = batches.plan | {"steps": calls}
            tasks[way, calls] = partial(again.draw, 0, BLOCKS)
    for name, forces in {
        "tempering": [], "static bias": load_bias(YARDSTICK / "bias.npz").forces(),
    }.items():  # fmt: skip
        simulation = make_simulation(system, system.temperature, 1, "Reference", forces)
        tasks[name] = partial(simulation.step, MD_STEPS)
    found = interleaved(tasks, ROUNDS)
    picoseconds = MD_STEPS * system.timestep / 1e3
    map_seconds = {
        way: {str(calls): found[way, calls]["seconds"] / (BLOCKS * BLOCK) for calls in CALLS}
        for way in WAYS
    }
    costs = md_costs()
    dynamics = {
        name: {
            "ps_a_second": picoseconds / found[name]["seconds"], "ps_a_conformation": cost,
            "seconds": cost * found[name]["seconds"] / picoseconds,
        }
        for name, cost in costs.items()
    }  # fmt: skip
    return {"map": map_seconds, "dynamics": dynamics}


def scores(checkpoint: Checkpoint, precision: str, calls: int, n: int) -> dict:
    """Return the scores of samples along the same paths whatever the precision."""
    drawn = sample(checkpoint, calls, n, precision=precision, progress=False)
    found = figures(compare(drawn, YARDSTICK, exact_transport=False))
    row = {name: {"value": found[name]["value"], "floor": found[name]["floor"]} for name in KEPT}
    return row | {"valid": found["valid"], "bonds": found["bond_sd_ratio"]["median"]}


def summarised(seconds: dict, found: dict) -> dict:
    """Return by way and calls what is told of each."""
    return {
        way: {
            calls: {
                "milliseconds": 1e3 * each,
                "a_second": 1.0 / each,
                **{
                    f"over_{name.replace(' ', '_')}": row["seconds"] / each
                    for name, row in seconds["dynamics"].items()
                },
                **found[WAYS[way]["precision"]][calls],
            }
            for calls, each in by_calls.items()
        }
        for way, by_calls in seconds["map"].items()
    }


def table(results: dict) -> str:
    """Return the results as Markdown."""
    rows = []
    for way, by_calls in results["summary"]["ways"].items():
        for calls, row in by_calls.items():
            rows.append([
                way, calls, f"{row['milliseconds']:.2f}", f"{row['a_second']:,.0f}",
                f"{row['over_tempering']:,.0f}", f"{row['over_static_bias']:,.0f}",
                f"{row['fes_rmse']['value']:.3f}", f"{row['energy_w2']['value']:.3g}",
                f"{row['bonds']:.3f}", f"{row['valid']:.2%}",
            ])  # fmt: skip
    return markdown(
        ["products", "network calls", "ms", "a core-second", "over tempering", "over static bias",
         "`fes_rmse`, kT", "energy W2, kT", "bonds", "valid"], rows,
    )  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, work=None)
    parser.add_argument("-n", type=int, default=10_000, help="samples that are scored")
    options = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(SYSTEM)
    seconds = once(options.work / "times.json", lambda: times(checkpoint))
    found: dict = {}
    for precision, calls in product(PRECISIONS, CALLS):
        found.setdefault(precision, {})[str(calls)] = once(
            options.work / f"{precision}-{calls}.json",
            partial(scores, checkpoint, precision, calls, options.n),
        )
    results = {
        "summary": {"ways": summarised(seconds, found), "dynamics": seconds["dynamics"]},
        "n": options.n, "weights_sha256": checkpoint.weights_hash,
    }  # fmt: skip
    write_results(
        options.out / "sampling_speed.json", results, {"precision": list(PRECISIONS)},
        openmm=openmm.__version__,
    )  # fmt: skip
    print(table(results))


if __name__ == "__main__":
    main()
