"""Judge an ensemble against reference molecular dynamics: scores, verdict, report."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import molflow
from molflow.errors import MolflowError
from molflow.files import writable_folder, write_json, write_text
from molflow.systems import built_in_systems, load_system

if TYPE_CHECKING:
    import mdtraj

    from molflow.analysis.ensemble import EnsembleFile
    from molflow.analysis.reference import Reference

#: How far rounding to 0.001 nm shifts the energy of alanine dipeptide, kT.
_ROUNDING_SHIFT = 0.3


def compare(
    ensemble: str | Path | mdtraj.Trajectory,
    reference: str | Path,
    out: str | Path | None = None,
    *,
    top: str | Path | None = None,
    force: bool = False,
    seed: int = 0,
    jobs: int | None = None,
) -> dict:
    """Score an ensemble against the held-out runs of a reference.

    Parameters
    ----------
    ensemble : path or mdtraj.Trajectory
        ``.dcd``, ``.xtc``, ``.h5`` or ``.pdb``; all atoms of the reference or a subset that keeps
        the backbone. A record ``.json`` and energies ``.npz`` of the same stem are used if they
        belong to the file.
    reference : str or path
        A built-in system, a folder with ``reference.json``, or a simulation folder.
    out : path, optional
        HTML report. The same numbers go beside it as JSON: ``metrics.json`` for ``report.html``,
        otherwise the same name with ``.json``.
    top : path, optional
        Topology of a ``.dcd`` or ``.xtc``; by default ``topology.pdb`` beside it.
    force : bool
        Compare although the ensembles' definitions differ.
    seed : int
        Of the bootstrap and of random thinning.
    jobs : int, optional
        Processes for computing energies.

    Returns
    -------
    dict
        JSON-safe; see `molflow.analysis.scorecard.score` for the scores. ``verdict`` is in words.

    Raises
    ------
    MolflowError
        If something cannot be read or written, atoms do not match, fewer than two conformations
        are finite, or the ensembles differ and `force` is not set.
    """
    from molflow.analysis.ensemble import match_atoms, read_ensemble
    from molflow.analysis.scorecard import Samples, score
    from molflow.analysis.torsions import phi_psi
    from molflow.analysis.verdict import verdict

    report = None if out is None else _report_path(out)
    truth = find_reference(reference)
    given = read_ensemble(ensemble, top)
    atoms = match_atoms(given.trajectory.topology, truth.topology)
    notes = list(given.notes) + _check_same_ensemble(given, truth, force)
    coarse = len(atoms) < truth.topology.n_atoms
    energies = None
    if coarse:
        notes.append("The ensemble is coarse-grained: potential energies do not apply to it.")
    else:
        energies, more = _energies(given, truth, jobs)
        notes += more
    samples = Samples(phi_psi(given.trajectory), given.trajectory.xyz, atoms, energies)
    result = {
        "ensemble": {
            "name": "trajectory from memory" if given.path is None else given.path.name,
            "n_atoms": len(atoms),
            "coarse": coarse,
        },
        "reference": {
            "system": truth.system,
            "n_atoms": truth.topology.n_atoms,
            "temperature": truth.temperature,
            "ensemble_hash": truth.ensemble_hash,
        },
        "notes": notes,
        **score(samples, truth, seed),
    }
    result["verdict"] = verdict(result)
    result["provenance"] = _provenance(given, truth)
    if report is not None:
        _write(result, samples, truth, report)
    return result


def _report_path(out: str | Path) -> Path:
    out = Path(out)
    if out.is_dir() or out.suffix.lower() not in (".html", ".htm"):
        raise MolflowError(f"out is '{out}': give the name of an HTML file, such as report.html.")
    writable_folder(out.parent)
    return out


def find_reference(reference: str | Path) -> Reference:
    """Load a reference by the name of a built-in system, or from a folder.

    Raises
    ------
    MolflowError
        If there is none.
    """
    from molflow.analysis.reference import load_reference

    name = str(reference).partition(":")[0]
    if name in built_in_systems():
        system = load_system(name)
        folder = system.folder / "reference"
        if not (folder / "reference.json").is_file():
            raise MolflowError(
                f"the system '{name}' has no reference here: make one with 'molflow simulate' and "
                "give its folder."
            )
        return load_reference(folder, system.topology())
    folder = Path(reference)
    if (folder / "reference.json").is_file():
        return load_reference(folder)
    if (folder / "simulation.json").is_file():
        from molflow.data.reference import reference_from_simulation

        return reference_from_simulation(folder)
    raise MolflowError(
        f"the reference '{reference}' is not a built-in system ({', '.join(built_in_systems())}) "
        "nor a folder with a reference.json or simulation.json."
    )


def _check_same_ensemble(given: EnsembleFile, truth: Reference, force: bool) -> list[str]:
    found = given.record.get("ensemble_hash")
    notes = []
    if found is None:
        notes.append("Whether ensemble and reference share force field and state is not recorded.")
    elif found != truth.ensemble_hash:
        sentence = (
            f"the ensemble is of another force field or state (hash {found}) than the reference "
            f"({truth.ensemble_hash})"
        )
        if not force:
            raise MolflowError(
                f"{sentence}: choose the right reference, or compare anyway with force."
            )
        notes.append(f"Forced: {sentence}, so differences are not only the model's.")
    split = given.record.get("checkpoint", {}).get("split", {})
    seen = {*split.get("train", ()), *split.get("validation", ())}
    overlap = sorted(seen & set(truth.held_out_runs or truth.runs))
    if overlap:
        notes.append(
            f"The model was trained on runs numbered {', '.join(map(str, overlap))}. If they are "
            "the reference's runs of these numbers, the scores are not held out."
        )
    return notes


def _energies(given: EnsembleFile, truth: Reference, jobs: int | None):
    import numpy as np

    if given.energies is not None:
        return given.energies, []
    if truth.system not in built_in_systems():
        return None, [
            f"No energies: none are stored with the ensemble, and the force field of "
            f"'{truth.system}' is not built in."
        ]
    system = load_system(truth.system)
    if system.ensemble_hash != truth.ensemble_hash:
        return None, [
            "No energies: none are stored with the ensemble, and the reference was made with "
            f"another definition of '{truth.system}' than the built-in one."
        ]
    from molflow.md.energies import potential_energies

    positions = given.trajectory.xyz
    finite = np.isfinite(positions).all(axis=(1, 2))
    energies = np.full(len(positions), np.nan)
    if finite.any():
        energies[finite] = potential_energies(system, positions[finite], jobs)
    notes = []
    if given.rounded:
        notes.append(
            "Energies were computed from XTC positions, which are rounded to 0.001 nm: that alone "
            f"raises them by about {_ROUNDING_SHIFT} kT on alanine dipeptide."
        )
    return energies, notes


def _provenance(given: EnsembleFile, truth: Reference) -> dict:
    entries = {
        "ensemble file": None if given.path is None else given.path.name,
        "ensemble sha256": given.sha256,
        **_flat("ensemble", {k: v for k, v in given.record.items() if "sha256" not in k}),
        "reference system": truth.system,
        "reference ensemble hash": truth.ensemble_hash,
        "reference runs": ", ".join(map(str, truth.runs)),
        "reference frame interval": f"{truth.frame_interval_ps:g} ps",
        **_flat("reference", truth.ensemble),
        **_flat("reference", truth.provenance),
        "molflow": molflow.__version__,
        "python": platform.python_version(),
    }
    return {key: value for key, value in entries.items() if value is not None}


def _flat(name: str, value) -> dict:
    """Return nested entries one by one, so that people can read them in a table."""
    if isinstance(value, dict):
        parts = [_flat(f"{name} {key}", part) for key, part in value.items()]
        return {key: entry for part in parts for key, entry in part.items()}
    if isinstance(value, (list, tuple)):
        return {name: ", ".join(map(str, value))}
    return {name: value}


def _write(result: dict, samples, truth: Reference, report: Path) -> None:
    import numpy as np

    from molflow.analysis.energy_metrics import reduced_energies
    from molflow.analysis.floor import split_reference
    from molflow.analysis.report import figures, render

    scored = split_reference(truth).scored
    finite = np.isfinite(samples.positions).all(axis=(1, 2))
    energies = None
    if "energy" in result["observables"]:
        own = samples.energies[finite]
        energies = tuple(
            reduced_energies(u, truth.temperature) for u in (own[np.isfinite(own)], scored.energies)
        )
    pictures = figures(result, (samples.torsions[finite], scored.torsions), energies)
    twin = report.with_name("metrics.json") if report.stem == "report" else report.with_suffix(
        ".json"
    )
    write_json(twin, result)
    write_text(report, render(result, pictures))


def format_table(result: dict) -> str:
    """Return the verdict and the scores as text for a terminal."""
    from rich.console import Console
    from rich.table import Table

    from molflow.analysis.report import number

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("score")
    for column in ("value", "floor", "excess", "95 % interval"):
        table.add_column(column, justify="right")
    table.add_column("unit")
    for row in result["metrics"].values():
        interval = "–" if row["interval"] is None else " – ".join(map(number, row["interval"]))
        values = [number(row[key]) for key in ("value", "floor", "excess")]
        table.add_row(row["name"], *values, interval, row["unit"])
    console = Console(width=100, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(result["verdict"]["headline"])
        for check in result["verdict"]["checks"]:
            console.print(f"  {check['level']:>7}  {check['sentence']}", soft_wrap=True)
        console.print()
        console.print(table)
        first = next(iter(result["metrics"].values()))
        console.print(
            f"\n{first['n_model']:,} conformations against {first['n_reference']:,} frames. "
            f"{result['floor']}"
        )
    return captured.get()
