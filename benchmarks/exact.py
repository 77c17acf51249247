"""Refinement, Boltzmann weights and levels for the shipped map, and toys with known answers.

    molflow simulate alanine_dipeptide --flatten phi,psi --time 10ns --replicas 8 --frame-interval 0.5ps --platform Reference --seed 2031 --out MD
    python benchmarks/exact.py --seeds 16 --others MD

Writes ``benchmarks/results/exact.json``. Weighted samples come in runs of 256, one a seed, each of
two to three minutes of one core; everything is kept in --work, so that more seeds add to what is
there and an interrupted run goes on where it was.
"""  # noqa: E501

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import torch
from exact_energies import checked, weighted_mean
from exact_weights import joined, scored, sizes, stratified
from openmm import unit
from record import add_part

from molflow.analysis.energy_metrics import energy_w2, reduced_energies
from molflow.analysis.floor import scored_part
from molflow.analysis.pareto_tail import pareto_k
from molflow.analysis.torsion_metrics import delta_f_alpha_l
from molflow.analysis.torsions import phi_psi
from molflow.analysis.weighting import normalised
from molflow.comparison import compare, find_reference
from molflow.exact.density import arrive, log_normal
from molflow.exact.estimate import estimate
from molflow.exact.trust import judge_weights
from molflow.exact.weighted import STOP, sample_weighted
from molflow.files import read_arrays, writable_folder
from molflow.flow_map.frozen import FrozenFlowMap
from molflow.maps.denoiser.clock import StepClock
from molflow.maps.denoiser.probability_flow import ProbabilityFlow, flow_times
from molflow.maps.denoiser.tangent_mean import TangentMean
from molflow.md.build import build
from molflow.refinement.pieces import refine_positions
from molflow.refinement.refine import FRICTION, walk_of
from molflow.sampling.ensemble import sample
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint

SYSTEM = "alanine_dipeptide"
RESULT = Path(__file__).parent / "results" / "exact.json"
OBSERVABLES = ("share:alpha_l", "coupling:1", "distance:ACE1-C,NME3-N")
#: Conformations a seed.
RUN = 256


def gaussian_flow(width: float, steps: int, stop: float) -> ProbabilityFlow:
    """Return the flow of a map whose D̄ is the denoiser of N(0, width²) where the jump begins."""
    sde = ReverseDiffusion(10.0, 0.002, 0.25)

    def denoise(t, x):
        sigma = sde.sigma(t).reshape(-1, 1, 1)
        return width**2 / (width**2 + sigma**2) * x

    flow_map = FrozenFlowMap(denoise, sde, sde.basis(2))
    flow_map.clock = StepClock(sde.duration)
    return ProbabilityFlow(flow_map, flow_times(flow_map, steps, stop))


def gaussian_toy(width: float = 0.5, steps: int = 12, n: int = 4000) -> dict:
    """Density and effective size in 63 dimensions against closed forms."""
    flow = gaussian_flow(width, steps, STOP)
    mean = TangentMean(flow.flow_map)
    spread = math.sqrt(1.0 + flow.flow_map.sde.sigma_max ** 2)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 22, 3, generator=generator, dtype=torch.float64)
    x = spread * (x - x.mean(1, keepdim=True))
    factor = float((flow(x[:1]) / x[:1]).mean())
    arrival = arrive(lambda rows: flow.rows(rows, mean), x[:8])
    log_q = log_normal(x[:8], spread**2) - arrival.log_determinant
    error = float((log_q - log_normal(arrival.positions, (factor * spread) ** 2)).abs().max())
    wide, narrow = factor * spread, math.sqrt(width**2 + STOP**2)
    y = flow(x)
    weights = (log_normal(y, narrow**2) - log_normal(y, wide**2)).exp()
    ratio = wide / narrow
    return {
        "dimensions": 63,
        "largest_error_of_log_density": error,
        "mean_weight": float(weights.mean()),
        "ess": float(weights.sum() ** 2 / weights.square().sum() / n),
        "ess_in_theory": (math.sqrt(2 * ratio**2 - 1) / ratio**2) ** 63,
    }


def refinement(work: Path, n: int) -> dict:
    """Energies and free energies of samples of 4 calls after 200 steps, and what they cost."""
    out = work / "refine.dcd"
    sample(SYSTEM, steps=4, n=n, out=out, path_seed=11, progress=False)
    given = mdtraj.load(str(out), top=str(out.with_name("topology.pdb")))
    system = load_system(SYSTEM)
    walk = walk_of(system, 200)
    began = time.process_time()
    walked = refine_positions(walk, given.xyz, jobs=1)
    cost = (time.process_time() - began) / n
    plain = plain_steps(system, 200 * 200) / 200
    refined = mdtraj.Trajectory(walked.positions, given.topology)
    reference = find_reference(SYSTEM)
    truth = reduced_energies(scored_part(reference).energies, system.temperature)
    scores = compare(refined, SYSTEM, exact_transport=False)["metrics"]
    before = compare(given, SYSTEM, exact_transport=False)["metrics"]
    return {
        "n": n,
        "energy_w2": energy_w2(reduced_energies(walked.energies, system.temperature), truth),
        "energy_w2_floor": scores["energy_w2"]["floor"],
        "energy_w2_before": before["energy_w2"]["value"],
        "fes_rmse": scores["fes_rmse"]["value"],
        "fes_rmse_before": before["fes_rmse"]["value"],
        "ms_per_sample": 1e3 * cost,
        "ms_of_200_openmm_steps": 1e3 * plain,
        "times_openmm": cost / plain,
        "descended": int(walked.descended.sum()),
        "blown_up": int(walked.blown_up.sum()),
    }


def plain_steps(system, steps: int) -> float:
    """Return processor seconds of 200 plain steps of one molecule, times steps / 200."""
    built, _ = build(system)
    integrator = openmm.LangevinMiddleIntegrator(
        system.temperature * unit.kelvin, FRICTION / unit.picosecond, 1.0 * unit.femtosecond
    )
    context = openmm.Context(built, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(system.start_positions())
    context.setVelocitiesToTemperature(system.temperature, 1)
    integrator.step(1000)
    began = time.process_time()
    integrator.step(steps)
    context.getState(energy=True)
    return time.process_time() - began


def weights(work: Path, seeds: int, steps: int, stop: float, name: str) -> dict:
    """Spread of the weights over all seeds, with free energies and energies beside a reference."""
    found, records = [], []
    for seed in range(seeds):
        out = work / f"{name}-{seed:03d}.dcd"
        trajectory, weighted = sample_weighted(
            SYSTEM, RUN, out, steps=steps, stop=stop, path_seed=seed, progress=False
        )
        arrays = read_arrays(out.with_suffix(".npz"))
        found.append((trajectory, weighted["log_weights"], arrays["energies"]))
        records.append(weighted["record"])
    trajectory = mdtraj.join([part for part, _, _ in found])
    log_weights, energies = (np.concatenate([part[k] for part in found]) for k in (1, 2))
    spread = judge_weights(log_weights, np.ones(len(log_weights)), trajectory)
    folds = sum(record["spread"]["folds"] for record in records)
    own = normalised(log_weights)
    system = load_system(SYSTEM)
    truth = find_reference(f"{SYSTEM}/reference-flattened")
    reduced = reduced_energies(energies, system.temperature)
    torsions = phi_psi(trajectory)
    seconds = float(np.mean([record["cpu_seconds_per_sample"] for record in records]))
    finite = np.isfinite(reduced)
    mean, error = weighted_mean(reduced[finite], own[finite])
    return {
        "n": len(own),
        "nfe": steps,
        "stop": stop,
        "tangents": records[0]["tangents"],
        "force_calls": float(np.mean([record["force_calls"] for record in records])),
        "ess": spread["effective_share"],
        "ess_clipped": spread["effective_share_clipped"],
        "ess_by_basin": spread["basins"],
        "largest_share": spread["largest_share"],
        "pareto_k": pareto_k(log_weights),
        "folds": folds,
        "cpu_s_per_sample": seconds,
        "jacobian_share": float(np.mean([record["jacobian_share"] for record in records])),
        "effective_per_core_second": spread["effective"] / len(own) / seconds,
        "mean_energy_kt": mean,
        "mean_energy_kt_error": error,
        "mean_energy_kt_reference": float(
            np.average(reduced_energies(truth.energies, system.temperature), weights=truth.weights)
        ),
        "delta_f_alpha_l": delta_f_alpha_l(torsions, 0.5, own),
        "delta_f_alpha_l_unweighted": delta_f_alpha_l(torsions, 0.5),
        "delta_f_alpha_l_reference": delta_f_alpha_l(truth.torsions, 0.5, truth.weights),
        "own_shares": spread["own_shares"],
        "doubts": spread["doubts"],
        "corrected": spread["corrected"],
        **scored(trajectory, log_weights, f"{SYSTEM}/reference-flattened"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=16, help="runs of 256 weighted samples")
    parser.add_argument("--bare-seeds", type=int, default=1, help="the same without physics")
    parser.add_argument("--steps", type=int, default=5, help="network calls of a weighted sample")
    parser.add_argument("--n", type=int, default=6000, help="samples that are refined")
    parser.add_argument("--calls", type=int, default=400_000, help="network calls of an estimate")
    parser.add_argument(
        "--others", type=Path, nargs="*", default=[], metavar="MD",
        help="simulations under a bias, for the part reweight",
    )
    parser.add_argument("--work", type=Path, default=Path("runs/exact"))
    names = ("toys", "refine", "weights", "strata", "reweight", "energies", "sizes", "estimates")
    parser.add_argument("--only", choices=names)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work = writable_folder(arguments.work)
    parts = {
        "toys": lambda: {"gaussian": gaussian_toy()},
        "refine": lambda: refinement(work, arguments.n),
        "weights": lambda: {
            **weights(work, arguments.seeds, arguments.steps, STOP, "weights"),
            "without_physics": weights(work, arguments.bare_seeds, arguments.steps, 0.0, "bare")
            if arguments.bare_seeds
            else None,
        },
        "strata": lambda: stratified(SYSTEM, work, arguments.steps),
        "reweight": lambda: joined(SYSTEM, work, arguments.steps, arguments.others),
        "energies": lambda: checked(SYSTEM, work, frames=1500, chains=200, moves=200),
        "sizes": lambda: sizes((SYSTEM, "alanine_tripeptide"), arguments.steps, STOP),
        "estimates": lambda: {
            name: estimate(
                SYSTEM, name, arguments.calls, work / f"estimate-{k}.json", progress=False
            )
            for k, name in enumerate(OBSERVABLES)
        },
    }
    result = {"summary": {}}
    shipped = load_checkpoint(SYSTEM).weights_hash
    for name, part in parts.items():
        if arguments.only in (None, name):
            of = None if name in ("toys", "sizes") else shipped
            result = add_part(RESULT, name, part(), of, openmm=openmm.__version__)
    seconds = result["summary"].get("weights", {}).get("cpu_s_per_sample")
    if seconds:
        print(
            f"4,096 weighted samples take {4096 * seconds / 3600:.1f} core hours here: "
            "python benchmarks/exact.py --only weights --seeds 16"
        )


if __name__ == "__main__":
    main()
