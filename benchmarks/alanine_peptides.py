"""Alanine tri- and tetrapeptide on the record: parts of `many_molecules.py`.

The shipped map of a peptide at few network calls against the reference of its folder, weighted
frames that no map has seen: all scores, and those of each residue with their floors; the same
conformations after a short refinement; MD that runs for as many processor seconds as the map
samples; what Boltzmann weights of a few hundred are worth, beside what others print. Draws the maps
of all residues, such as ``benchmarks/results/alanine_tripeptide_maps.png``.
"""

from __future__ import annotations

import time
from pathlib import Path

import mdtraj
import numpy as np
from dipeptide_scores import md_frames, positions, scored
from exact_weights import scored as scored_by_weights
from matplotlib.figure import Figure
from record import markdown, once, save
from yardstick import floor, half_rmse, of_runs, split

from molflow.analysis.plots import ramachandran
from molflow.analysis.reference import Reference, load_reference
from molflow.analysis.torsion_list import measure_torsions, torsion_list
from molflow.analysis.torsion_metrics import delta_f_alpha_l, fes_rmse
from molflow.analysis.weighting import effective_size, normalised
from molflow.exact.weighted import sample_weighted
from molflow.files import read_arrays, write_arrays
from molflow.refinement.refine import refine
from molflow.step_study.summary import summarise
from molflow.systems import load_system
from molflow.training.checkpoint import Checkpoint, load_checkpoint

#: Parts of `many_molecules.py`, and the systems that they score.
PEPTIDES = {"tripeptide": "alanine_tripeptide", "tetrapeptide": "alanine_tetrapeptide"}
CALLS, REFINED_CALLS, REFINE = (1, 2, 4, 8), (4, 8), 200
#: Conformations that get Boltzmann weights, at so many network calls.
WEIGHTED, WEIGHTED_CALLS = {"tripeptide": 256, "tetrapeptide": 128}, 5
#: Effective share and energy W2 of 200,000 weighted samples as Table 3 of Rehman et al., "FALCON:
#: Few-step Accurate Likelihoods for Continuous Flows" (arXiv 2512.09914) has them.
PUBLISHED = {
    "ECNF++": {"tripeptide": (0.003, 2.206), "tetrapeptide": (0.006, 5.638)},
    "SBG, importance sampling": {"tripeptide": (0.052, 0.758), "tetrapeptide": (0.046, 1.068)},
    "FALCON, 4 to 16 calls": {"tripeptide": (0.077, 0.544), "tetrapeptide": (0.055, 0.686)},
}


def columns(names: tuple[str, ...]) -> dict[str, list[int]]:
    """Return for every residue the columns of its phi and psi among torsions with these names."""
    places = {name: column for column, name in enumerate(names)}
    residues = [name.removeprefix("phi ") for name in names if name.startswith("phi ")]
    return {r: [places[f"phi {r}"], places[f"psi {r}"]] for r in residues if f"psi {r}" in places}


def of_reference(reference: Reference) -> dict:
    """Return what the reference is worth, and of each residue ΔF(αL) and the difference of
    halves."""
    torsions, log_weights = split(reference)
    rows = {}
    for residue, pair in columns(reference.torsion_names).items():
        own = [run[:, pair] for run in torsions]
        rows[residue] = {
            "delta_f_alpha_l": of_runs(own, log_weights),
            "half_rmse": half_rmse(own, log_weights)["mean"],
        }
    frames = len(reference.torsions)
    simulation = reference.provenance["simulation"]["flattened"]
    return {
        "ns": frames * reference.frame_interval_ps * 1e-3, "runs": len(reference.runs),
        "frames": frames, "effective_size": effective_size(frames, reference.weights),
        "crossings": {row["name"]: row["crossings"] for row in simulation["torsions"]},
        "residues": rows,
        "half_rmse": float(np.mean([row["half_rmse"] for row in rows.values()])),
    }  # fmt: skip


def of_residues(model: np.ndarray, reference: Reference, floors: dict[str, float]) -> dict:
    """Return of each residue of torsions (n, all) `fes_rmse` and ΔF(αL), beside `floors`."""
    rows = {}
    for residue, pair in columns(reference.torsion_names).items():
        truth = reference.torsions[:, pair].astype(float)
        own = delta_f_alpha_l(model[:, pair], 0.5)
        rows[residue] = {
            "fes_rmse": fes_rmse(model[:, pair], truth, None, reference.weights),
            "floor": floors[residue],
            "delta_f_alpha_l": own,
            "delta_f_error": own - delta_f_alpha_l(truth, 0.5, reference.weights),
        }
    return rows


def floors_of(reference: Reference, n: int) -> dict[str, float]:
    """Return `fes_rmse` of as many draws from the reference as there are samples, by residue."""
    weights = normalised(reference.log_weights)
    return {
        residue: floor(reference.torsions[:, pair].astype(float), weights, n)
        for residue, pair in columns(reference.torsion_names).items()
    }


def torsions_of(xyz: np.ndarray, topology: mdtraj.Topology) -> np.ndarray:
    """Return all torsions of conformations, (n, torsions) in rad."""
    return measure_torsions(xyz, torsion_list(topology)).astype(float)


def reference_of(system: str) -> Path:
    return load_system(system).folder / "reference"


def row_of(xyz: np.ndarray, system: str, floors: dict) -> dict:
    """Return the scores of conformations in nm, (n, atoms, 3), against the system's reference."""
    folder, topology = reference_of(system), load_system(system).topology()
    reference, found = load_reference(folder), scored(xyz, topology, folder)
    return {
        "n": len(xyz), **summarise([found["figures"]]), "angle_sd_ratio": found["angle_sd_ratio"],
        "residues": of_residues(torsions_of(xyz, topology), reference, floors),
    }  # fmt: skip


def sampled(
    checkpoint: Checkpoint, system: str, calls: int, n: int, floors: dict, kept: Path
) -> dict:
    """Return the scores at so many network calls, raw and, of some, refined; torsions are kept."""
    begun, topology = time.process_time(), checkpoint.topology()
    xyz = positions(checkpoint, "molflow", n, calls, 0)
    seconds = time.process_time() - begun
    write_arrays(kept, torsions=torsions_of(xyz, topology))
    row = {"seconds_a_sample": seconds / n, **row_of(xyz, system, floors)}
    if calls in REFINED_CALLS:
        begun = time.process_time()
        walked = refine(
            mdtraj.Trajectory(xyz, topology), steps=REFINE, system=system, jobs=1, progress=False
        )
        more = (time.process_time() - begun) / n
        row["refined"] = {"seconds_a_sample": more, **row_of(walked.xyz, system, floors)}
    return row


def dynamics(system: str, seconds: float, n: int, floors: dict) -> dict:
    """Return the scores of MD from the structure that runs for so many processor seconds."""
    frames, length = md_frames(system, seconds, n, 0)
    return {"ps": length, **row_of(frames, system, floors)}


def weighted(part: str, out: Path) -> dict:
    """Return what Boltzmann weights are worth, and scores with them."""
    system, n = PEPTIDES[part], WEIGHTED[part]
    trajectory, found = sample_weighted(
        system, n, out, steps=WEIGHTED_CALLS, jobs=1, progress=False
    )
    record, spread = found["record"], found["record"]["spread"]
    return {
        "n": n, "nfe": WEIGHTED_CALLS, "ess": spread["effective_share"],
        "largest_share": spread["largest_share"], "pareto_k": spread["pareto_k"],
        "folds": spread["folds"], "doubts": spread["doubts"],
        "cpu_s_per_sample": record["cpu_seconds_per_sample"],
        **scored_by_weights(trajectory, found["log_weights"], str(reference_of(system))),
    }  # fmt: skip


def maps(model: np.ndarray, reference: Reference, path: Path) -> None:
    """Draw the free-energy maps of every residue, the model's beside the reference's."""
    pairs = columns(reference.torsion_names)
    figure = Figure(figsize=(8.6, 3.9 * len(pairs)), layout="constrained")
    parts = np.atleast_1d(figure.subfigures(len(pairs), 1))
    for part, (residue, pair) in zip(parts, pairs.items(), strict=True):
        truth = reference.torsions[:, pair]
        ramachandran(model[:, pair], truth, part, reference_weights=reference.weights)
        part.suptitle(residue)
    save(figure, path)


def peptide_scores(part: str, work: Path, out: Path, n: int) -> tuple[dict, str]:
    """Return all scores of the shipped map of a peptide, and the hash of its weights.

    Finished parts stay in `work`, a picture goes to `out`.
    """
    system = PEPTIDES[part]
    checkpoint, reference = load_checkpoint(system), load_reference(reference_of(system))
    floors = floors_of(reference, n)
    parts = work / f"{part}-{checkpoint.weights_hash[:12]}"
    rows, beside = {}, {}
    for calls in CALLS:
        name = f"{calls}-{n}.json"
        kept = (parts / name).with_suffix(".npz")
        row = rows[str(calls)] = once(
            parts / name, lambda k=calls, kept=kept: sampled(checkpoint, system, k, n, floors, kept)
        )
        seconds = n * row["seconds_a_sample"]
        if calls in REFINED_CALLS:
            beside[str(calls)] = once(
                parts / f"dynamics-{name}", lambda s=seconds: dynamics(system, s, n, floors)
            )
        print(calls, row["fes_rmse"], row["valid"], flush=True)
    maps(read_arrays(kept)["torsions"], reference, out / f"{system}_maps.png")
    summary = {
        "reference": of_reference(reference), "n": n, "refine_steps": REFINE, "map": rows,
        "dynamics_of_equal_cost": beside,
        "weights": once(parts / "weights.json", lambda: weighted(part, parts / "weighted.dcd")),
    }  # fmt: skip
    return summary, checkpoint.weights_hash


def peptide_table(results: dict, part: str) -> str:
    """Return the scores as Markdown: of the map, refined, and of MD of equal cost."""
    summary = results["summary"][part]
    residues = list(summary["reference"]["residues"])
    heads = [
        "conformations", "`fes_rmse` / kT (halves)", *(f"{r} (draws)" for r in residues),
        *(f"error of ΔF(αL), {r}" for r in residues), "energy W2 / kT (floor)", "bond sd / MD",
        "valid", "wrong hand", "ms each",
    ]  # fmt: skip
    lines = []
    for calls, row in summary["map"].items():
        said = f"{calls} network call" + ("s" if calls != "1" else "")
        lines.append(_line(said, row, residues, 1e3 * row["seconds_a_sample"]))
        if "refined" in row:
            both = row["seconds_a_sample"] + row["refined"]["seconds_a_sample"]
            lines.append(_line(f"{calls}, refined", row["refined"], residues, 1e3 * both))
    for calls, row in summary["dynamics_of_equal_cost"].items():
        seconds = summary["map"][calls]["seconds_a_sample"]
        said = f"MD as long as {calls} calls, {1e-3 * row['ps']:.1f} ns"
        lines.append(_line(said, row, residues, 1e3 * seconds))
    return markdown(heads, lines)


def _line(said: str, row: dict, residues: list[str], milliseconds: float) -> list[str]:
    own = [row["residues"][residue] for residue in residues]
    return [
        said, f"{row['fes_rmse']:.2f} ({row['fes_floor']:.2f})",
        *(f"{one['fes_rmse']:.2f} ({one['floor']:.2f})" for one in own),
        *(f"{one['delta_f_error']:+.2f}" for one in own),
        f"{row['energy_w2']:.3g} ({row['energy_w2_floor']:.2g})", f"{row['bond_sd_ratio']:.2f}",
        f"{row['valid']:.2%}", f"{row['wrong_hand']} of {row['n']:,}", f"{milliseconds:.2g}",
    ]  # fmt: skip


def reference_table(results: dict, part: str) -> str:
    """Return what the reference says of each residue as Markdown."""
    rows = []
    for residue, row in results["summary"][part]["reference"]["residues"].items():
        free = row["delta_f_alpha_l"]
        rows.append([
            residue, f"{free['value']:.2f} ± {free['error']:.2f}",
            ", ".join(f"{value:.2f}" for value in free["by_run"]), f"{row['half_rmse']:.2f}",
        ])  # fmt: skip
    return markdown(["residue", "ΔF(αL) / kT", "by run", "`fes_rmse` between halves / kT"], rows)


def published_table(results: dict) -> str:
    """Return as Markdown what weights are worth and energy W2, beside what others print."""
    heads, summary = ["map"], results["summary"]
    for part in PEPTIDES:
        heads += [f"{part}, effective share", f"{part}, energy W2 / kT"]
    rows = [
        [name, *(f"{value:.3f}" for part in PEPTIDES for value in found[part])]
        for name, found in PUBLISHED.items()
    ]
    counts = " and ".join(str(WEIGHTED[part]) for part in PEPTIDES)
    weighted = [f"molflow, {WEIGHTED_CALLS} calls, {counts} weighted"]
    refined = [f"molflow, {max(REFINED_CALLS)} calls, refined, no weights"]
    for part in PEPTIDES:
        found = summary[part]["weights"]
        weighted += [f"{found['ess']:.2f}", _with_floor(found["energy_w2"])]
        row = summary[part]["map"][str(max(REFINED_CALLS))]["refined"]
        score = {"value": row["energy_w2"], "floor": row["energy_w2_floor"]}
        refined += ["–", _with_floor(score)]
    return markdown(heads, [*rows, weighted, refined])


def _with_floor(score: dict) -> str:
    return f"{score['value']:.2f} ({score['floor']:.2f})"
