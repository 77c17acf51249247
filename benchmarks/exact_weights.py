"""What weights can be asked for: strata, Bennett's ratio, energies, cost, and planted bias."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path

import mdtraj
import numpy as np
import torch

from molflow.analysis.flattened import free_energy_of
from molflow.analysis.observables import BASIN_NAMES, basin_marks
from molflow.analysis.torsion_metrics import in_alpha_l
from molflow.analysis.torsions import phi_psi
from molflow.analysis.weighting import normalised
from molflow.comparison import compare, find_reference
from molflow.exact.annealing import Schedule, anneal
from molflow.exact.basin_ratios import Forward, Side, basin_shares
from molflow.exact.density import arrive
from molflow.exact.laplace import laplace
from molflow.exact.physics import BoltzmannLaw
from molflow.exact.reweight import reweight
from molflow.exact.strata import basin_numbers
from molflow.exact.trust import judge_weights
from molflow.exact.weighted import sample_weighted
from molflow.exact.weighted_piece import PIECE
from molflow.files import read_arrays, read_json
from molflow.flow_map.centring import centre
from molflow.maps.denoiser.flow_map import DenoiserFlowMap
from molflow.maps.denoiser.probability_flow import ProbabilityFlow, flow_times
from molflow.maps.denoiser.tangent_mean import TangentMean
from molflow.nn.graph import MolecularGraph
from molflow.nn.registry import build_network, network_configuration
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.systems import load_system

#: Of 48,000 draws without a density.
STRATA = {"beta": 400, "alpha_r": 400, "alpha_l": 900}
DRAWS = 48_000
FRAMES, WALK = 160, "20ps"


def scored(trajectory: mdtraj.Trajectory, log_weights: np.ndarray, reference: str) -> dict:
    """Weighted energies and free energies beside a reference, floors at the effective size."""
    metrics = compare(
        trajectory, reference, weights=normalised(log_weights), exact_transport=False, jobs=1
    )["metrics"]
    return {
        name: {"value": metrics[name]["value"], "floor": metrics[name]["floor"]}
        for name in ("energy_w2", "fes_rmse")
    }


def stratified(system: str, work: Path, steps: int) -> dict:
    """Effective sizes of the basins where each has a chosen number of samples."""
    out = work / "strata.dcd"
    trajectory, weighted = sample_weighted(
        system, DRAWS, out, steps=steps, path_seed=100, strata=STRATA, progress=False
    )
    record, spread = weighted["record"], weighted["record"]["spread"]
    return {
        "draws": DRAWS,
        "strata": record["strata"],
        "nfe": steps,
        "ess_by_basin": {
            name: {**row, "share": row["effective"] / row["samples"]}
            for name, row in spread["basins"].items()
        },
        "ess": spread["effective_share"],
        "largest_share": spread["largest_share"],
        "pareto_k": spread["pareto_k"],
        "folds": spread["folds"],
        "cpu_s_per_sample": record["cpu_seconds_per_sample"],
        "cpu_s": record["cpu_seconds_per_sample"] * spread["n"],
        "doubts": spread["doubts"],
        **scored(trajectory, weighted["log_weights"], f"{system}/reference-flattened"),
    }


def joined(system: str, work: Path, steps: int, others: list[Path]) -> dict:
    """Free energies of basins by both sides, beside the reference and other runs under a bias."""
    strata = stratified(system, work, steps)
    trajectory, found = reweight(
        system, work / "strata.dcd", work / "reweighted.dcd", FRAMES, WALK, progress=False
    )
    record = found["record"]
    known = references(system, others)
    row = record["basins"]["alpha_l"]
    cost = strata["cpu_s"] + record["cpu_seconds"]
    return {
        **record,
        "delta_f_alpha_l": row["free_energy"],
        "delta_f_alpha_l_error": row["free_energy_error"],
        "reference": known["together"],
        "references": known,
        "difference": row["free_energy"] - known["together"]["value"],
        "cpu_s": cost,
        **scored(trajectory, found["log_weights"], f"{system}/reference-flattened"),
        "alpha_l_a_core_second": rates(system, row, cost),
        "planted": planted(work, record),
    }


def references(system: str, others: list[Path]) -> dict:
    """ΔF(αL) of the committed reference under a static bias and of other such simulations.

    Each has a bias of its own, from metadynamics of its own; ``together`` is their mean by
    inverse variances, ``furthest`` how many joint errors the two that differ most are apart.
    """
    own = find_reference(f"{system}/reference-flattened").delta_f_alpha_l
    rows = {"reference-flattened": {name: own[name] for name in ("value", "error")}}
    for folder in others:
        marks, log_weights = [], []
        for path in sorted(folder.glob("replica-*.dcd")):
            weights = read_arrays(path.with_suffix(".npz"))["log_weights"]
            frames = mdtraj.load(str(path), top=str(folder / "topology.pdb"))[: len(weights)]
            marks.append(in_alpha_l(phi_psi(frames)))
            log_weights.append(weights[: len(frames)])
        found = free_energy_of(marks, log_weights)
        seed = read_json(folder / "simulation.json")["seed"]
        rows[f"seed {seed}"] = {name: found[name] for name in ("value", "error")}
    values, errors = (np.array([row[k] for row in rows.values()]) for k in ("value", "error"))
    return rows | together(values, errors)


def together(values: np.ndarray, errors: np.ndarray) -> dict:
    """Return the mean of independent values by inverse variances, and how far they are apart."""
    precision = errors**-2.0
    apart = np.abs(values[:, None] - values) / np.hypot(errors[:, None], errors)
    return {
        "together": {
            "value": float(precision @ values / precision.sum()),
            "error": float(precision.sum() ** -0.5),
        },
        "furthest": float(apart.max()),
    }


def rates(system: str, row: dict, cost: float) -> dict:
    """Independent samples that the error of αL's share is worth, in a second of one core.

    n independent samples leave the error sqrt((1 − P)/(P n)) of ln P and about as much of ΔF.
    Dynamics by the committed references: their error over runs and the speed on their record.
    """

    def of(delta: float, error: float, seconds: float) -> dict:
        share = 1.0 / (1.0 + math.exp(delta))
        worth = (1.0 - share) / share / error**2
        return {"error_kt": error, "worth": worth, "cpu_s": seconds, "rate": worth / seconds}

    found = {"map and dynamics": of(row["free_energy"], row["free_energy_error"], cost)}
    for name in ("reference", "reference-flattened"):
        record = find_reference(f"{system}/{name}")
        simulation = record.provenance["simulation"]
        plan, runs = simulation["plan"], len(simulation["runs"])
        flat = plan.get("flattening")
        ps = runs * len(plan["temperatures"]) * plan["frames"] * plan["frame_interval"]
        if flat:
            ps += runs * flat["frames"] * flat["frame_interval"]
            own = record.delta_f_alpha_l
            value, error = own["value"], own["error"]
        else:
            each = [
                delta_f(record.torsions[record.replica == k]) for k in np.unique(record.replica)
            ]
            value, error = float(np.mean(each)), float(np.std(each, ddof=1) / len(each) ** 0.5)
        seconds = 1000.0 * ps / simulation["platform_steps_per_second"]["Reference"]
        found["static bias" if flat else "tempering"] = of(value, error, seconds)
    return found


def delta_f(torsions: np.ndarray) -> float:
    """Return −ln[P(αL)/P(rest)]."""
    share = basin_marks(torsions)["alpha_l"].mean()
    return float(np.log((1.0 - share) / share))


def planted(work: Path, record: dict) -> dict:
    """Which diagnostics see that a map lacks αL, or half of it, or has twice as much of it.

    The map's law is multiplied by a number a(x) and normalised: draws with a = 0 are dropped,
    others counted a times, and its density, forwards and backwards, is a times what it was.
    """
    forward, sides = _parts(work)
    torsions = [
        phi_psi(mdtraj.Trajectory(part.positions, _topology(work)))
        for part in (forward, *sides.values())
    ]
    cases = {
        "none": lambda _: 1.0,
        "removed": lambda one: np.where(basin_marks(one)["alpha_l"], 0.0, 1.0),
        "part removed": lambda one: np.where(
            basin_marks(one)["alpha_l"] & (one[:, 1] < 0.0), 0.0, 1.0
        ),
        "doubled": lambda one: np.where(basin_marks(one)["alpha_l"], 2.0, 1.0),
    }
    found = {}
    for name, factor in cases.items():
        ours, *theirs = (np.broadcast_to(factor(one), len(one)) for one in torsions)
        with np.errstate(divide="ignore"):
            changed = {
                b: dataclasses.replace(side, log_weights=side.log_weights - np.log(a))
                for (b, side), a in zip(sides.items(), theirs, strict=True)
            }
        kept = ours > 0.0
        less = Forward(*(getattr(forward, one.name)[kept] for one in dataclasses.fields(forward)))
        less = dataclasses.replace(
            less,
            log_weights=less.log_weights - np.log(ours[kept]),
            log_factors=less.log_factors + np.log(ours[kept]),
        )
        log_weights = less.log_weights + less.log_factors
        trajectory = mdtraj.Trajectory(less.positions, _topology(work))
        spread = judge_weights(log_weights, np.ones(len(log_weights)), trajectory, less.log_factors)
        shares, _ = basin_shares(less, changed, seed=0)
        factors = np.exp(less.log_factors)
        left = shares["basins"]["alpha_l"]
        found[name] = {
            "ess": spread["effective_share"],
            "share_of_draws_in_alpha_l": float(factors[less.basins == 2].sum() / factors.sum()),
            "share_by_weights_in_alpha_l": float(normalised(log_weights)[less.basins == 2].sum()),
            "share_by_reweight": left["share"],
            "never_reached": left.get("never_reached"),
            "gap_kt": left.get("gap"),
            "gap_error_kt": left.get("gap_error"),
            "bias_kt": left.get("bias"),
            "bias_error_kt": left.get("bias_error"),
            "said_of_weights": spread["doubts"],
            "said_by_reweight": shares["doubts"],
            "corrected_by_weights": spread["corrected"],
            "corrected_by_reweight": shares["corrected"],
        }
    gap = record["basins"]["alpha_l"]["gap_error"]
    return {
        **found,
        "least_missing_share_of_alpha_l_seen_at_4_errors": 1.0 - math.exp(-4.0 * gap),
        "frames_of_which_one_is_outside_at_95_percent": {
            f"{share:.0%} missing": math.ceil(math.log(0.05) / math.log1p(-share))
            for share in (0.02, 0.05, 0.2)
        },
    }


def _topology(work: Path) -> mdtraj.Topology:
    return mdtraj.load_topology(str(work / "topology.pdb"))


def _parts(work: Path) -> tuple[Forward, dict[int, Side]]:
    """Return samples and frames as `reweight` had them, from its files."""
    arrays = read_arrays(work / "reweighted.npz")
    positions = mdtraj.load(str(work / "reweighted.dcd"), top=_topology(work)).xyz
    n = read_json(work / "strata.json")["n"]
    basins = basin_numbers(positions, _topology(work))
    forward = Forward(
        positions[:n], arrays["energies"][:n], arrays["log_ratios"][:n],
        read_arrays(work / "strata.npz")["log_factors"], basins[:n],
    )  # fmt: skip
    sides = {}
    for b in range(len(BASIN_NAMES)):
        rows = n + np.flatnonzero(basins[n:] == b)
        if len(rows):
            nothing = np.zeros(len(rows))
            sides[b] = Side(
                positions[rows], arrays["energies"][rows], arrays["log_ratios"][rows],
                nothing, nothing,
            )  # fmt: skip
    return forward, sides


def sizes(names: tuple[str, str], steps: int, stop: float) -> dict:
    """Cost of a weighted sample by number of atoms, of untrained networks of one size.

    On paper: 3N − 6 directions a jump, each through a network whose pairs grow as N² and whose
    atoms as N, so N² to N³ in all; 3N − 3 force calls for curvatures beside those of the chains,
    each of N² pairs. Measured: a jump's derivatives, times the jumps, and the step by physics
    around the system's own structure with noise.
    """
    found = {}
    for name in names:
        system = load_system(name)
        graph = MolecularGraph.from_topology(system.topology())
        network = {"kind": "dense", "scalars": 96, "vectors": 48, "layers": 4, "pair_width": 32}
        sde = ReverseDiffusion(10.0, 0.002, 0.25)
        torch.manual_seed(0)
        made = build_network(
            network_configuration(network), graph, sde.basis(4).size, sde.duration, 10.0
        )
        flow_map = DenoiserFlowMap(made, sde, 4).requires_grad_(False)
        n = graph.n_atoms
        flow = ProbabilityFlow(flow_map, flow_times(flow_map, 1, stop))
        mean = TangentMean(flow_map)
        x = 10.0 * centre(torch.randn(PIECE, n, 3))
        with torch.no_grad():
            arrive(lambda rows, f=flow, m=mean: f.rows(rows, m), x, 8)
            began = time.process_time()
            arrive(lambda rows, f=flow, m=mean: f.rows(rows, m), x, 8)
            jacobian = steps * (time.process_time() - began) / PIECE
        law = BoltzmannLaw(system, 0.2)
        q = law.basis.T @ system.start_positions().astype(float).ravel() / 0.2
        rng = np.random.default_rng(0)
        began, calls = time.process_time(), []
        for _ in range(4):
            y = q + stop * rng.normal(size=len(q))

            def posterior(at, y=y, law=law):
                energy, gradient = law(at)
                away = at - y
                return energy + 0.5 * away @ away / stop**2, gradient + away / stop**2

            base = laplace(posterior, q, 0.01 * stop, 0.5 / stop**2)
            calls.append(base.calls + anneal(posterior, base, Schedule(), rng).calls)
        physics = (time.process_time() - began) / len(calls)
        found[name] = {
            "atoms": n,
            "tangents": steps * (3 * n - 6),
            "force_calls": float(np.mean(calls)),
            "jacobian_cpu_s": jacobian,
            "physics_cpu_s": physics,
            "cpu_s_per_sample": jacobian + physics,
        }
    small, large = (found[name] for name in names)
    found["exponent_of_jacobian"] = math.log(
        large["jacobian_cpu_s"] / small["jacobian_cpu_s"]
    ) / math.log(large["atoms"] / small["atoms"])
    return found
