"""Judge an ensemble against reference molecular dynamics: scores, verdict, report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from molflow.comparison_files import provenance, twin_of, write_comparison
from molflow.errors import MolflowError
from molflow.farm import Jobs
from molflow.files import check_length, writable_folder
from molflow.parts import alone_with
from molflow.systems import (
    MolecularSystem,
    built_in_systems,
    load_system,
    recorded_system,
    systems_folder,
)
from molflow.units import parse_quantity

if TYPE_CHECKING:
    import mdtraj
    import numpy as np

    from molflow.analysis.files.ensemble import EnsembleFile
    from molflow.analysis.reference import Reference
    from molflow.analysis.samples import Samples
    from molflow.md.energy_parts import EnergyParts

#: How far rounding to 0.001 nm shifts the energy of alanine dipeptide, kT.
_ROUNDING_SHIFT = 0.3


@alone_with("out", "offenders", folders=("figures",))
def compare(
    ensemble: str | Path | mdtraj.Trajectory,
    reference: str | Path,
    out: str | Path | None = None,
    *,
    top: str | Path | None = None,
    reference_top: str | Path | None = None,
    weights: str | Path | np.ndarray | None = None,
    reference_weights: str | Path | np.ndarray | None = None,
    system: str | None = None,
    offenders: str | Path | None = None,
    figures: str | Path | None = None,
    frame_interval: str | float | None = None,
    exact_transport: bool = True,
    force: bool = False,
    seed: int = 0,
    jobs: Jobs = None,
    account: Sequence[str] = (),
) -> dict:
    """Score an ensemble against the held-out runs of a reference.

    The ensemble is read in chunks and may be larger than memory, unless it is a PDB or GRO file.

    Parameters
    ----------
    ensemble : path or mdtraj.Trajectory
        A trajectory of any format in `molflow.analysis.files.formats`, all atoms of the reference
        or a subset. A record ``.json`` and energies ``.npz`` of the same stem are used if they
        belong to the file.
    reference : str or path
        A built-in system, a folder with ``reference.json`` (of a system, too), a simulation folder,
        or any trajectory file of the same molecule.
    out : path, optional
        HTML report. The same numbers go beside it as JSON: ``metrics.json`` for ``report.html``,
        otherwise the same name with ``.json``.
    top : path, optional
        Topology (PDB, PSF, PRMTOP, GRO) of a trajectory without one; by default ``topology.pdb``
        beside it.
    reference_top : path, optional
        The same for a reference that is a trajectory file; by default ``topology.pdb`` beside it
        or, if there is none, `top`.
    weights : path or ndarray, (n,), optional
        Weights of the conformations: an ``.npz`` file with ``log_weights`` (natural logarithms) or
        ``weights``, an ``.npy`` or text file of weights, or an array of weights. By default those
        that the ensemble brings, in its HDF5 file or as ``log_weights`` in the ``.npz`` beside it;
        equal ones if it brings none.
    reference_weights : path or ndarray, optional
        The same for the reference, one weight for each frame of all its runs in their order.
    system : str, optional
        The system that a reference which is a trajectory file is of: a built-in name or a folder.
        Its force field gives energies; without it there are none.
    offenders : path, optional
        Trajectory file for the samples that failed a test, the first 1,000; a table of the same
        name with ``.csv`` says which sample, which test, where, the value and its limits.
    figures : path, optional
        Folder for every picture as PDF and as PNG of 300 dots an inch, and ``report.pdf`` with
        verdict, scores and pictures.
    frame_interval : str or float, optional
        Time between the conformations, such as ``"1ps"``, if they are frames of a trajectory whose
        file or record does not tell it: their order in time is judged as well. Samples of a
        generator have no such order.
    exact_transport : bool
        Whether to compute the scores by exact optimal transport, which take seconds each.
    force : bool
        Compare although the ensembles' definitions differ.
    seed : int
        Of the bootstrap and of random thinning.
    jobs : int or str, optional
        Processes for computing energies.
    account : sequence of str
        How the ensemble came about, sentences for the report. With it the verdict says whether the
        ensemble is usable, which none is that too short a reference was held out for.

    Returns
    -------
    dict
        JSON-safe; see `molflow.analysis.scorecard.score` for the scores. ``verdict`` is in words.

    Raises
    ------
    MolflowError
        If something cannot be read or written, atoms do not match, fewer than two conformations
        are finite, a file would be replaced that no comparison wrote, weights do not fit or are
        all in one conformation, or the ensembles differ and `force` is not set.
    """
    from molflow.analysis.features import features_of
    from molflow.analysis.files.ensemble import read_ensemble
    from molflow.analysis.files.weight_files import read_log_weights
    from molflow.analysis.floor import scored_part
    from molflow.analysis.kinetics.frame_times import frame_times
    from molflow.analysis.reporting.offenders import check_offenders_path, write_offenders
    from molflow.analysis.reporting.representatives import representatives
    from molflow.analysis.samples import chunk_size, measure_samples
    from molflow.analysis.scorecard import score
    from molflow.analysis.soundness import (
        check_judgeable,
        check_soundness,
        cut_note,
        own_frames_note,
        scale_note,
    )
    from molflow.analysis.verdict import usability, verdict
    from molflow.analysis.weighting import normalised

    report = None if out is None else _report_path(out)
    if offenders is not None:
        offenders = check_offenders_path(offenders)
    if figures is not None:
        figures = writable_folder(figures)
        _check_figures(figures)
    interval = None
    if frame_interval is not None:
        interval = parse_quantity(frame_interval, "time", "frame_interval")
        if not interval > 0:
            raise MolflowError(f"frame_interval is {frame_interval}: give a time above 0.")
    given = read_ensemble(ensemble, top)
    if weights is not None:
        own = read_log_weights(weights, given.n, "the ensemble")
        given = replace(given, log_weights=own)
    truth = find_reference(reference, reference_top, top, system, jobs)
    if reference_weights is not None:
        own = read_log_weights(reference_weights, len(truth.torsions), "the reference")
        truth = replace(truth, log_weights=own)
    given, atoms = given.in_order_of(truth.topology)
    notes = list(given.notes) + _check_same_ensemble(given, truth, force)
    notes += check_soundness(truth)
    notes += [f"Of the reference: {note}" for note in truth.provenance.get("notes", [])]
    coarse = len(atoms) < truth.topology.n_atoms
    times: list[np.ndarray] = []
    with ExitStack() as stack:
        energies, parts = None, None
        if coarse:
            notes.append("The ensemble is coarse-grained: potential energies do not apply to it.")
        else:
            energies, parts, more = _energies(given, truth, system, jobs, stack)
            notes += more
        features = features_of(scored_part(truth), atoms)
        check_judgeable(features)
        samples = measure_samples(
            _noting(times, given.chunks(chunk_size(len(atoms)))),
            given.n,
            features,
            energies,
            normalised(given.log_weights),
        )
        by_force = None if parts is None else _by_force(parts, samples, truth)
    order, more = frame_times(given, times, truth, interval)
    notes += [*cut_note(samples, given), *own_frames_note(samples, scored_part(truth)), *more]
    result = {
        "ensemble": {
            "name": "trajectory from memory" if given.path is None else given.path.name,
            "n_atoms": len(atoms),
            "coarse": coarse,
            **({"resampled": True} if "resampled" in given.record else {}),
        },
        "reference": {
            "system": truth.system,
            "n_atoms": truth.topology.n_atoms,
            "temperature": truth.temperature,
            "ensemble_hash": truth.ensemble_hash,
        },
        "notes": notes,
        **score(samples, truth, seed, exact_transport, order),
    }
    notes += scale_note(result["geometry"])
    if by_force is not None and "energy" in result["observables"]:
        result["observables"]["energy"]["by_force"] = by_force
    result["clusters"] = representatives(samples, scored_part(truth), given.positions_at)
    result["verdict"] = verdict(result)
    if account:
        result["account"] = list(account)
        result["verdict"] = usability(result)
    result["provenance"] = provenance(given, truth)
    given.check_unchanged()
    if offenders is not None:
        write_offenders(offenders, samples)
    if report is not None or figures is not None:
        write_comparison(result, samples, truth, given, report, figures)
    return result


def _report_path(out: str | Path) -> Path:
    from molflow.analysis.files.own_files import check_report_paths

    out = Path(out)
    check_length(out)
    if out.is_dir() or out.suffix.lower() not in (".html", ".htm"):
        raise MolflowError(f"out is '{out}': give the name of an HTML file, such as report.html.")
    check_report_paths(out, twin_of(out))
    writable_folder(out.parent)
    return out


def _check_figures(folder: Path) -> None:
    from molflow.analysis.files.own_files import check_figures_folder
    from molflow.analysis.reporting.figure_files import file_names

    check_figures_folder(folder, file_names())


def find_reference(
    reference: str | Path,
    reference_top: str | Path | None = None,
    top: str | Path | None = None,
    system: str | None = None,
    jobs: Jobs = None,
) -> Reference:
    """Load a reference by the name of a built-in system, from a folder or from a trajectory file.

    The arguments are those of `compare`.

    Raises
    ------
    MolflowError
        If there is none.
    """
    from molflow.analysis.files.formats import is_trajectory
    from molflow.analysis.reference import load_reference

    name, folder = str(reference).partition(":")[0], Path(reference)
    if is_trajectory(folder):
        return _reference_file(folder, reference_top, top, system, jobs)
    if system is not None or reference_top is not None:
        raise MolflowError(
            f"the reference '{reference}' is not a trajectory file, so it brings its own system "
            "and topology: leave out system and reference_top."
        )
    if name in built_in_systems():
        built_in = load_system(name)
        folder = built_in.folder / "reference"
        if not (folder / "reference.json").is_file():
            raise MolflowError(
                f"the system '{name}' has no reference here: make one with 'molflow simulate' and "
                "give its folder."
            )
        return load_reference(folder, built_in.topology())
    for place in (folder, folder / "reference", systems_folder() / folder):
        if (place / "reference.json").is_file():
            return load_reference(place)
    if (folder / "simulation.json").is_file():
        from molflow.data.reference import reference_from_simulation

        return reference_from_simulation(folder)
    raise MolflowError(
        f"the reference '{reference}' is not a built-in system ({', '.join(built_in_systems())}), "
        "a folder with a reference.json or simulation.json, nor a trajectory file."
    )


def _reference_file(path: Path, reference_top, top, system: str | None, jobs) -> Reference:
    from molflow.analysis.files.reference_file import KnownEnsemble, reference_from_trajectory

    if reference_top is None and not path.with_name("topology.pdb").is_file():
        reference_top = top
    if system is None:
        return reference_from_trajectory(path, reference_top)
    from molflow.md.energies import EnergyWorkers

    named = load_system(system)
    with EnergyWorkers(named, jobs) as workers:
        known = KnownEnsemble(
            named.name, named.ensemble, named.ensemble_hash, named.temperature, workers.energies
        )
        return reference_from_trajectory(path, reference_top, known)


def _check_same_ensemble(given: EnsembleFile, truth: Reference, force: bool) -> list[str]:
    from molflow.data.simulation import trajectory_hashes

    found = given.record.get("ensemble_hash")
    notes = []
    if found is None or truth.ensemble_hash is None:
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
    scored = truth.held_out_runs or truth.runs
    checkpoint = given.record.get("checkpoint", {})
    own = trajectory_hashes(truth.provenance.get("simulation", {}), scored)
    if own and checkpoint.get("trajectories"):
        known = sorted(own[value] for value in {*checkpoint["trajectories"]} & own.keys())
        if known:
            notes.append(
                f"The model was trained on runs {', '.join(map(str, known))} of the reference: the "
                "scores are not held out."
            )
        return notes
    split = checkpoint.get("split", {})
    seen = {*split.get("train", ()), *split.get("validation", ())}
    overlap = sorted(seen & set(scored))
    if overlap:
        notes.append(
            f"The model was trained on runs numbered {', '.join(map(str, overlap))}. If they are "
            "the reference's runs of these numbers, the scores are not held out."
        )
    return notes


def _noting(times: list[np.ndarray], parts: Iterator) -> Iterator[np.ndarray]:
    """Yield the positions of parts of a trajectory, and keep their times."""
    for part in parts:
        times.append(part.time)
        yield part.xyz


def _energies(
    given: EnsembleFile, truth: Reference, system: str | None, jobs: Jobs, stack: ExitStack
):
    """Return energies, or a function of positions that gives them and its parts; and notes."""
    if given.energies is not None:
        return given.energies, None, []
    if system is None and "energies_left_out" in given.record:
        return None, None, [str(given.record["energies_left_out"])]
    absent = "No energies: none are stored with the ensemble, and"
    if system is None and truth.ensemble_hash is None:
        return None, None, [f"{absent} the force field of '{truth.system}' is not known."]
    if system is not None:
        named = load_system(system)
    else:
        try:
            named = _system_of(truth)
        except MolflowError as error:
            return None, None, [f"{absent} {error}"]
    if named.ensemble_hash != truth.ensemble_hash:
        return None, None, [
            f"{absent} the reference was made with another definition of '{named.name}'."
        ]
    from molflow.md.energies import SERIAL_SIZE, EnergyWorkers
    from molflow.md.energy_parts import EnergyParts

    notes = []
    if given.rounded:
        notes.append(
            "Energies were computed from positions which the file's format rounds to 0.001 nm: "
            f"that alone raises them by about {_ROUNDING_SHIFT} kT on alanine dipeptide."
        )
    one = given.n * given.topology.n_atoms < SERIAL_SIZE and jobs is None
    workers = stack.enter_context(EnergyWorkers(named, 1 if one else jobs))
    parts = EnergyParts(workers, given.n)
    return parts.energies, parts, notes


def _system_of(truth: Reference) -> MolecularSystem:
    """Return the system that a reference was made of, by its record."""
    place = truth.provenance.get("simulation", {}).get("system_path")
    return recorded_system(
        {"system": truth.system, "system_path": place, "ensemble_hash": truth.ensemble_hash}
    )


def _by_force(
    parts: EnergyParts, samples: Samples, truth: Reference
) -> dict[str, dict[str, float]]:
    """Return the median energy of every force in kT, of the model and of the reference."""
    from molflow.analysis.floor import scored_part
    from molflow.analysis.weighting import part_of
    from molflow.md.energy_parts import EnergyParts
    from molflow.units import thermal_energy

    scored = scored_part(truth)
    reference = EnergyParts(parts.workers, len(scored.positions))
    reference.energies(scored.positions)
    own = part_of(samples.weights, samples.validity.finite)
    assert truth.temperature is not None, "there are energies of forces only with it"
    kt = thermal_energy(truth.temperature)
    sides = {
        "model": parts.medians(own),
        "reference": reference.medians(scored.position_weights),
    }
    return {side: {name: u / kt for name, u in found.items()} for side, found in sides.items()}


def format_table(result: dict) -> str:
    """Return the verdict and the scores as text for a terminal."""
    from rich.console import Console
    from rich.table import Table

    from molflow.analysis.reporting.report import number

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
        for note in result["notes"]:
            console.print(f"     note  {note}", soft_wrap=True)
        console.print()
        console.print(table)
        first = next(iter(result["metrics"].values()))
        console.print(
            f"\n{first['n_model']:,} conformations against {first['n_reference']:,} frames. "
            f"{result['floor']}"
        )
        if "n_model_effective" in first:
            console.print(
                f"By their weights they are worth {first['n_model_effective']:,.0f} and "
                f"{first['n_reference_effective']:,.0f}; the floor is drawn at that size."
            )
        reasons = result.get("not_scored", {})
        for why in dict.fromkeys(reasons.values()):
            names = ", ".join(name for name, reason in reasons.items() if reason == why)
            console.print(f"Not scored: {names}. {why}")
    return captured.get()
