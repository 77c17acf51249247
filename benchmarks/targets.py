"""Other targets from one map: another temperature, a reward, means over step counts; toys first.

    molflow simulate WARM --flatten phi,psi --time 5ns --replicas 6 --platform Reference --seed 2031 --out MD
    python benchmarks/targets.py --md MD

Writes ``benchmarks/results/targets.json``. WARM is the folder of alanine dipeptide with 350 K in its
system.yaml. Weighted samples come in runs of 256; all that takes long is kept in --work.
"""  # noqa: E501

from __future__ import annotations

import argparse
import math
from functools import partial, reduce
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import torch
from exact import SYSTEM, gaussian_flow
from record import add_part

from molflow.analysis.energy_metrics import reduced_energies
from molflow.analysis.floor import scored_part
from molflow.analysis.torsion_metrics import delta_f_alpha_l
from molflow.analysis.torsions import phi_psi
from molflow.analysis.weighting import effective_size, normalised
from molflow.brownian.chen import join
from molflow.brownian.increment import Increment
from molflow.comparison import compare, find_reference
from molflow.exact.density import log_normal
from molflow.exact.levels import allocate, best_levels, pilot_levels, price
from molflow.exact.observables import observable
from molflow.exact.steered import sample_steered
from molflow.exact.steering import Steering, log_mean
from molflow.exact.trust import judge_weights
from molflow.exact.weighted import STOP, sample_weighted
from molflow.files import read_arrays, read_json, writable_folder, write_arrays, write_json
from molflow.flow_map.centring import centre
from molflow.flow_map.frozen import FrozenFlowMap
from molflow.md.energies import potential_energies
from molflow.sampling.ensemble import sample
from molflow.sde.gaussian_mixture import GaussianMixture
from molflow.sde.reverse_diffusion import ReverseDiffusion
from molflow.systems import load_system
from molflow.training.checkpoint import load_checkpoint
from molflow.units import thermal_energy

RESULT = Path(__file__).parent / "results" / "targets.json"
WARM = 350.0
OBSERVABLES = ("share:alpha_l", "coupling:1", "distance:ACE1-C,NME3-N")
STEPS = (1, 2, 4, 8, 16, 32, 64)
#: Paths on which observables are seen at all numbers of steps.
PATHS = 512
#: Strength of the umbrella over phi, kJ/mol, and its centres, degrees.
STRENGTH, CENTRES = 40.0, (60, 120)


def temperature_toy(width: float = 0.5, steps: int = 64, n: int = 20_000) -> dict:
    """Gaussian of 63 dimensions weighed for another temperature: variance and effective size."""
    flow = gaussian_flow(width, steps, STOP)
    spread = math.sqrt(1.0 + flow.flow_map.sde.sigma_max ** 2)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 22, 3, generator=generator, dtype=torch.float64)
    x = spread * centre(x)
    y = flow(x)
    wide = float((y[:1] / x[:1]).mean()) * spread
    variance = width**2 * WARM / 300.0 + STOP**2  # a spring's is in proportion to T
    log_weights = (log_normal(y, variance) - log_normal(y, wide**2)).numpy()
    weights = normalised(log_weights)
    squares = y.square().flatten(1).sum(1).numpy() / 63
    found = float(weights @ squares)
    error = float(np.sqrt(np.sum((weights * (squares - found)) ** 2)))
    ratio = math.sqrt(variance) / wide
    return {
        "dimensions": 63,
        "variance": found,
        "error": error,
        "exact": variance,
        "without_weights": float(squares.mean()),
        "ess": effective_size(n, weights) / n,
        "ess_in_theory": (ratio * math.sqrt(2 - ratio**2)) ** 63,
    }


def reward_toy(strength: float = 1.5, steps: int = 8, groups: int = 40) -> dict:
    """A quadratic reward on a map whose law is Gaussian, and whose look ahead is poor."""
    sde = ReverseDiffusion(10.0, 0.01, 0.25)
    atoms, size, width = 4, 9, 0.5

    def denoise(t, x):
        sigma = sde.sigma(t).reshape(-1, 1, 1)
        return width**2 / (width**2 + sigma**2) * x

    flow_map = FrozenFlowMap(denoise, sde, sde.basis(2))
    flow_map.register_parameter("example", torch.nn.Parameter(torch.zeros(()).double()))
    spread = math.sqrt(width**2 + sde.sigma_max**2)
    variances = {}
    for count in (1, steps):
        variance, times = spread**2, np.linspace(0.0, sde.duration, count + 1)
        for s, t in zip(times[:-1], times[1:], strict=True):
            sigma = 10.0 * math.exp(-s)
            lift = math.exp(-(1 + 0.25**2) * (t - s))
            factor = lift + (1 - lift) * width**2 / (width**2 + sigma**2)
            noise = (10.0 * math.exp(-t)) ** 2 * (1 - math.exp(-2 * 0.25**2 * (t - s)))
            variance = factor**2 * variance + noise
        variances[count] = variance
    final = variances[steps]

    def energy(x):
        return 0.5 * strength * (x.square().flatten(1).sum(1) / final).numpy()

    steering = Steering(flow_map, np.linspace(0.0, sde.duration, steps + 1), spread, energy, 2)
    generator = torch.Generator().manual_seed(2)
    ladder = steering.ladder(256, atoms, generator)
    made = [steering.run(256, atoms, ladder, generator) for _ in range(groups)]
    means = np.exp([log_mean(group.log_weights) for group in made])
    squares = [
        float(np.average(2 * group.energies / strength / size, weights=np.exp(group.log_weights)))
        for group in made
    ]
    weight = (math.sqrt(1 + 2 * strength) / (1 + strength)) ** size
    return {
        "dimensions": size,
        "mean_weight": float(means.mean()),
        "mean_weight_error": float(means.std(ddof=1) / groups**0.5),
        "mean_weight_exact": (1 + strength) ** (-size / 2),
        "variance_ratio": float(np.mean(squares)),
        "variance_ratio_error": float(np.std(squares, ddof=1) / groups**0.5),
        "variance_ratio_exact": 1 / (1 + strength),
        "variance_of_look_ahead": variances[1] / final,
        "ess_of_plain_samples_in_theory": weight,
        "ess": float(np.mean([effective_size(256, normalised(g.log_weights)) for g in made]) / 256),
    }


class MixtureLevels:
    """Unequal wells along one direction, jumped to from noise on shared Brownian paths."""

    def __init__(self, seed: int):
        self.direction = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]], dtype=torch.float64) / 2**0.5
        means = torch.tensor([-1.0, 1.5]).double()[:, None, None] * self.direction
        widths = torch.tensor([0.35, 0.35]).double()
        law = GaussianMixture(means, widths, torch.tensor([0.75, 0.25]).double())
        self.sde = ReverseDiffusion(10.0, 0.01, 0.25)
        self.flow_map = FrozenFlowMap(
            lambda t, x: law.denoise(x, self.sde.sigma(t)), self.sde, self.sde.basis(2)
        )
        self.generator = torch.Generator().manual_seed(seed)

    def places(self, n: int, steps: list[int]) -> dict[int, np.ndarray]:
        """Return where the same n paths end at several numbers of steps."""
        finest = max(steps)
        shape = (finest * self.flow_map.basis.size * n, 2, 3)
        z = centre(torch.randn(shape, generator=self.generator, dtype=torch.float64))
        z = z.unflatten(0, (finest, self.flow_map.basis.size, n)).permute(0, 2, 3, 4, 1)
        start = centre(torch.randn(n, 2, 3, generator=self.generator, dtype=torch.float64))
        start = math.sqrt(1.9 + self.sde.sigma_max**2) * start
        h = torch.tensor(self.sde.duration / finest, dtype=torch.float64)
        fine = [Increment.from_whitened(self.flow_map.basis, h, part) for part in z]
        found = {}
        for count in steps:
            x, ratio = start, finest // count
            times = torch.linspace(0, self.sde.duration, count + 1, dtype=torch.float64)
            for k in range(count):
                s, t = (times[end].expand(n) for end in (k, k + 1))
                x = self.flow_map(s, t, x, reduce(join, fine[k * ratio : (k + 1) * ratio]))
            found[count] = (x * self.direction).sum((1, 2)).numpy()
        return found


def levels_toy(calls: int = 400_000) -> dict:
    """Multilevel means against as many plain samples at the finest steps as make them certain."""
    toy = MixtureLevels(3)
    views = {"place": lambda q: q, "share": lambda q: (q > 0.25).astype(float)}
    pilot = toy.places(1024, list(STEPS))
    fine = np.concatenate([toy.places(4096, [STEPS[-1]])[STEPS[-1]] for _ in range(12)])
    result = {}
    for name, view in views.items():
        terms = pilot_levels({k: view(values) for k, values in pilot.items()})
        levels = best_levels(terms)
        mean = variance = 0.0
        rows = []
        for level, count in zip(levels, allocate(levels, calls, 64), strict=True):
            pair = [level.steps] + ([] if level.coarser is None else [level.coarser])
            values = toy.places(count, pair)
            own = view(values[level.steps])
            if level.coarser is not None:
                own = own - view(values[level.coarser])
            mean, variance = mean + own.mean(), variance + own.var(ddof=1) / count
            rows.append({"steps": level.steps, "coarser": level.coarser, "samples": count})
        plain = view(fine)
        result[name] = {
            "mean": mean,
            "error": variance**0.5,
            "fine_mean": float(plain.mean()),
            "fine_error": float(plain.std() / len(plain) ** 0.5),
            "factor": float(plain.var() * STEPS[-1] / calls / variance),
            "levels": rows,
        }
    return result


def warm(work: Path, md: Path, seeds: int, steps: int) -> dict:
    """Weights for 350 K from the map of 300 K, against molecular dynamics at 350 K."""
    found, records = [], []
    for seed in range(seeds):
        out = work / f"warm-{seed:03d}.dcd"
        trajectory, weighted = sample_weighted(
            SYSTEM, 256, out, steps=steps, path_seed=1000 + seed, jobs=1, temperature=WARM,
            progress=False,
        )  # fmt: skip
        energies = read_arrays(out.with_suffix(".npz"))["energies"]
        found.append((trajectory, weighted["log_weights"], energies))
        records.append(weighted["record"])
    trajectory = mdtraj.join([part for part, _, _ in found])
    log_weights, energies = (np.concatenate([part[k] for part in found]) for k in (1, 2))
    weights = normalised(log_weights)
    truth = find_reference(str(md))
    cold = find_reference(f"{SYSTEM}/reference-flattened")
    scored = scored_part(cold)
    scores = compare(trajectory, str(md), weights=weights, exact_transport=False)
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(scored.positions), 8000, p=_shares(scored.position_weights, scored))
    frames = mdtraj.Trajectory(scored.positions[drawn], cold.topology)
    before = compare(frames, str(md), exact_transport=False, force=True)
    spread = judge_weights(log_weights, np.ones(len(weights)), trajectory)
    torsions = phi_psi(trajectory)
    names = ("fes_rmse", "energy_w2", "torsion_js")
    finite = np.isfinite(energies)
    resampled = [
        delta_f_alpha_l(torsions[rows], 0.5, weights[rows] / weights[rows].sum())
        for rows in (rng.integers(len(weights), size=len(weights)) for _ in range(400))
    ]
    return {
        "n": len(weights),
        "nfe": steps,
        "temperature_K": WARM,
        "ess": spread["effective_share"],
        "largest_share": spread["largest_share"],
        "pareto_k": spread["pareto_k"],
        "ess_by_basin": spread["basins"],
        "cpu_s_per_sample": float(np.mean([r["cpu_seconds_per_sample"] for r in records])),
        "scores": {name: _row(scores, name) for name in names if name in scores["metrics"]},
        "scores_of_md_at_300K": {
            name: _row(before, name) for name in names if name in before["metrics"]
        },
        "mean_energy_kt": float(
            weights[finite] @ reduced_energies(energies[finite], WARM) / weights[finite].sum()
        ),
        "mean_energy_kt_md": float(
            np.average(reduced_energies(truth.energies, WARM), weights=truth.weights)
        ),
        "delta_f_alpha_l": delta_f_alpha_l(torsions, 0.5, weights),
        "delta_f_alpha_l_error": float(np.std(resampled)),
        "delta_f_alpha_l_unweighted": delta_f_alpha_l(torsions, 0.5),
        "delta_f_alpha_l_md": delta_f_alpha_l(truth.torsions, 0.5, truth.weights),
        "delta_f_alpha_l_md_by_run": [
            delta_f_alpha_l(part.torsions, 0.5, part.weights)
            for part in (truth.select([run]) for run in truth.runs)
        ],
        "delta_f_alpha_l_md_300K": delta_f_alpha_l(scored.torsions, 0.5, scored.weights),
        "doubts": spread["doubts"],
    }


def _shares(weights, scored) -> np.ndarray:
    n = len(scored.positions)
    return np.full(n, 1 / n) if weights is None else weights / weights.sum()


def _row(result: dict, name: str) -> dict:
    row = result["metrics"][name]
    return {key: row[key] for key in ("value", "floor", "unit")}


def umbrella(trajectory: mdtraj.Trajectory, centre: int) -> np.ndarray:
    """Return kJ/mol of an umbrella over phi, its centre in degrees."""
    phi = mdtraj.compute_phi(trajectory)[1][:, 0].astype(float)
    return STRENGTH * (1 - np.cos(phi - math.radians(centre)))


def steering(work: Path, n: int, centre: int) -> dict:
    """The umbrella by steering, and by weights on plain samples of the same map."""
    place = work / f"steered-{centre}.json"
    reward = partial(umbrella, centre=centre)
    if not place.is_file():
        trajectory, steered = sample_steered(SYSTEM, reward, n, path_seed=5, progress=False)
        weights = normalised(steered["log_weights"])
        phi = phi_psi(trajectory)[:, 0]
        write_json(place, steered["record"] | {"mean_sin_phi": float(weights @ np.sin(phi))})
    record = read_json(place)
    kt = thermal_energy(300.0)
    count = round(n * record["calls"] / 4)
    plain = sample(SYSTEM, 4, count, work / f"plain-{centre}.dcd", path_seed=6, energies=False)
    energies = reward(plain) / kt
    weights = np.exp(-energies)
    share = weights / weights.sum()
    mean = float(weights.mean())
    phi = phi_psi(plain)[:, 0]
    return {
        "reward": f"{STRENGTH:g} kJ/mol (1 - cos(phi - {centre} degrees))",
        "calls_in_all": n * record["calls"],
        "steered": record,
        "plain": {
            "n": count,
            "effective": effective_size(count, share),
            "free_energy": -kt * math.log(mean),
            "error": kt * float(weights.std()) / mean / count**0.5,
            "mean_sin_phi": float(share @ np.sin(phi)),
        },
    }


def warm_as_reward(work: Path) -> dict:
    """What raising the temperature does to plain samples by their own energies."""
    result = {}
    for steps in (4, 8):
        out = work / f"tilted-{steps}.dcd"
        sample(SYSTEM, steps, 2048, out, path_seed=9, progress=False)
        energies = read_arrays(out.with_suffix(".npz"))["energies"]
        finite = energies[np.isfinite(energies)]
        tilt = finite / thermal_energy(300.0) - finite / thermal_energy(WARM)
        weights = normalised(tilt)
        result[str(steps)] = {
            "effective": effective_size(len(weights), weights),
            "largest_share": float(weights.max()),
        }
    return result


def coupling(work: Path) -> dict:
    """Prices of means over levels, coupled by the path and by the start of the flow."""
    topology = load_system(SYSTEM).topology()
    result: dict = {}
    for name, flow in (("path", False), ("start_of_the_flow", True)):
        values = {}
        for steps in STEPS:
            place = work / f"levels-{name}-{steps}.npz"
            if not place.is_file():
                trajectory = sample(SYSTEM, steps, PATHS, path_seed=21, flow=flow, progress=False)
                seen = {key: observable(key, topology)[0](trajectory) for key in OBSERVABLES}
                energies = potential_energies(load_system(SYSTEM), trajectory.xyz)
                write_arrays(place, energies=energies, **{
                    f"value{k}": seen[key] for k, key in enumerate(OBSERVABLES)
                })  # fmt: skip
            values[steps] = read_arrays(place)
        rows = {}
        for k, key in enumerate(OBSERVABLES):
            terms = pilot_levels({steps: found[f"value{k}"] for steps, found in values.items()})
            levels = best_levels(terms)
            rows[key] = {
                "price": price(levels),
                "price_of_plain_sampling": terms[None, STEPS[-1]].variance * STEPS[-1],
                "factor": terms[None, STEPS[-1]].variance * STEPS[-1] / price(levels),
                "levels": [level.steps for level in levels],
            }
        result[name] = rows
        if not flow:
            result["energy_share_of_one_sample_in_the_variance"] = {
                str(steps): _heaviest(found["energies"]) for steps, found in values.items()
            }
    return result


def _heaviest(energies: np.ndarray) -> float:
    finite = energies[np.isfinite(energies)]
    squares = (finite - np.median(finite)) ** 2
    return float(squares.max() / squares.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--md", type=Path, help="simulation at 350 K")
    parser.add_argument("--seeds", type=int, default=8, help="runs of 256 weighted samples")
    parser.add_argument("--steps", type=int, default=5, help="network calls of a weighted sample")
    parser.add_argument("--n", type=int, default=1024, help="steered conformations")
    parser.add_argument("--work", type=Path, default=Path("runs/targets"))
    parser.add_argument(
        "--only", choices=("toys", "temperature", "reward", "warm_as_reward", "levels")
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work = writable_folder(arguments.work)
    parts = {
        "toys": lambda: {
            "temperature": temperature_toy(), "reward": reward_toy(), "levels": levels_toy(),
        },
        "temperature": lambda: warm(work, arguments.md, arguments.seeds, arguments.steps),
        "reward": lambda: [steering(work, arguments.n, centre) for centre in CENTRES],
        "warm_as_reward": lambda: warm_as_reward(work),
        "levels": lambda: coupling(work),
    }  # fmt: skip
    if arguments.md is None and arguments.only in (None, "temperature"):
        parser.error("--md is missing: the simulation at 350 K that weights are judged by")
    shipped = load_checkpoint(SYSTEM).weights_hash
    for name, part in parts.items():
        if arguments.only in (None, name):
            of = None if name == "toys" else shipped
            add_part(RESULT, name, part(), of, openmm=openmm.__version__)


if __name__ == "__main__":
    main()
