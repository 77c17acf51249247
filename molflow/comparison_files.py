"""What a comparison writes: report, numbers and pictures, and where everything came from."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import molflow
from molflow.files import write_text

if TYPE_CHECKING:
    from molflow.analysis.files.ensemble import EnsembleFile
    from molflow.analysis.reference import Reference
    from molflow.analysis.samples import Samples


def twin_of(report: Path) -> Path:
    """Return where the numbers of a report go."""
    own_name = report.stem != "report"
    return report.with_suffix(".json") if own_name else report.with_name("metrics.json")


def provenance(given: EnsembleFile, truth: Reference) -> dict:
    """Return where both sides came from, one entry a row of a table."""
    entries = {
        "ensemble file": None if given.path is None else given.path.name,
        "ensemble sha256": given.sha256,
        **_flat("ensemble", {k: v for k, v in given.record.items() if "sha256" not in k}),
        "reference system": truth.system,
        "reference ensemble hash": truth.ensemble_hash,
        "reference runs": ", ".join(map(str, truth.runs)),
        "reference frame interval": None
        if truth.frame_interval_ps is None
        else f"{truth.frame_interval_ps:g} ps",
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
    if isinstance(value, (list, tuple)) and any(isinstance(part, dict) for part in value):
        return {f"{name} {k}": _words(part) for k, part in enumerate(value)}
    if isinstance(value, (list, tuple)):
        return {name: ", ".join(map(str, value))}
    return {name: value}


def _words(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{str(k).replace('_', ' ')} {_words(part)}" for k, part in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write_comparison(
    result: dict, samples: Samples, truth: Reference, given: EnsembleFile, report: Path | None,
    folder: Path | None,
) -> None:  # fmt: skip
    """Write the report with its numbers beside it, and the folder of pictures, where wanted."""
    import numpy as np

    from molflow.analysis.energy_metrics import reduced_energies
    from molflow.analysis.floor import scored_part
    from molflow.analysis.reporting.figure_files import write_figures
    from molflow.analysis.reporting.pictures import pictures, shown_clusters
    from molflow.analysis.reporting.report import render
    from molflow.analysis.reporting.representatives import positions_of
    from molflow.analysis.weighting import part_of

    scored = scored_part(truth)
    finite = samples.part(samples.validity.finite)
    energies, molecules, weights = None, None, None
    if "energy" in result["observables"]:
        own, theirs, temperature = finite.energies, scored.energies, truth.temperature
        assert own is not None and theirs is not None and temperature is not None, "it was scored"
        known = np.isfinite(own)
        weights = part_of(finite.weights, known)
        energies = reduced_energies(own[known], temperature), reduced_energies(theirs, temperature)
    found = result["clusters"]
    if found is not None and shown_clusters(found):
        molecules = positions_of(found, samples, scored, given.positions_at)
    drawn = pictures(result, finite, scored, energies, molecules, weights)
    numbers = json.dumps(result, indent=2, allow_nan=False) + "\n"
    page = None
    if report is not None:
        topology, digest = samples.features.topology, hashlib.sha256(numbers.encode()).hexdigest()
        page = render(result, drawn, molecules, topology, digest)
    given.check_unchanged()
    if folder is not None:
        write_figures(folder, result, drawn)
    if report is not None and page is not None:
        # The numbers first: a page whose hash is not that of the file beside it is the older one.
        write_text(twin_of(report), numbers)
        write_text(report, page)
