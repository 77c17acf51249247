"""The report: one HTML file without anything to download."""

from __future__ import annotations

import base64
import io
from importlib import resources

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from molflow.analysis import plots


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    # A fixed salt and no date: the same result gives the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "molflow"}):
        figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def figures(
    result: dict, torsions: tuple[np.ndarray, np.ndarray],
    energies: tuple[np.ndarray, np.ndarray] | None,
) -> list[dict[str, str]]:  # fmt: skip
    """Draw the report's pictures.

    Parameters
    ----------
    result : dict
        From `molflow.comparison.compare`.
    torsions : pair of ndarray, (n, 2)
        Model and reference, rad.
    energies : pair of ndarray, (n,), or None
        Model and reference, kT.

    Returns
    -------
    list of dict
        ``title``, ``note``, ``width`` (full or half) and ``source``, a data URL of an SVG picture.
    """
    made = [
        (
            "Free-energy maps", "full", plots.ramachandran(*torsions)[0].figure,
            f"Same scale, in kT above each minimum; white above {plots.CEILING:g} kT or never "
            "visited.",
        ),
        (
            "Profiles of the torsions", "full", plots.torsion_profiles(*torsions)[0].figure,
            "Free energy along each torsion, bins of 5°; gaps where there is no sample.",
        ),
    ]  # fmt: skip
    if energies is not None:
        made.append((
            "Potential energies", "half", plots.energy_histogram(*energies).figure,
            "Densities over all samples, also those outside the picture.",
        ))  # fmt: skip
    made.append((
        "Fluctuations of the geometry", "half", plots.sd_ratios(result["geometry"]).figure,
        "Below 1: thermal fluctuation was lost.",
    ))  # fmt: skip
    return [
        {"title": title, "width": width, "note": note, "source": _svg(figure)}
        for title, width, figure, note in made
    ]


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a few significant digits for people to read."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 1e4 or abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{decimals}f}".replace("-", "−")


def render(result: dict, pictures: list[dict[str, str]]) -> str:
    """Return the report as HTML text from a comparison and its pictures."""
    template = resources.files("molflow.analysis").joinpath("templates/report.html.j2")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        r=result, pictures=pictures
    )
