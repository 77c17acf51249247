"""The report: one HTML file without anything to download."""

from __future__ import annotations

import base64
import io
from importlib import resources

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

from molflow.analysis.reporting.molecule_drawing import draw_molecule, reach_of, scene
from molflow.analysis.reporting.pictures import Picture, cluster_title, shown_clusters


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    # A fixed salt and no date: the same result gives the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "molflow"}):
        figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


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


def share_interval(count: int, n: int) -> str:
    """Return a count's share of n with its 95 % interval, Wilson's, in per cent."""
    low, high = binomtest(count, n).proportion_ci(0.95, "wilson")
    return f"{100 * count / n:.2f} % ({100 * low:.2f} – {100 * high:.2f})"


def weight_interval(share: float, effective: float) -> str:
    """Return a share of the weight with its 95 % interval, Wilson's at the effective size."""
    z = 1.959963984540054
    middle = (share + z * z / (2 * effective)) / (1 + z * z / effective)
    half = np.sqrt(share * (1 - share) / effective + (z / (2 * effective)) ** 2)
    half *= z / (1 + z * z / effective)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return f"{100 * share:.2f} % ({100 * low:.2f} – {100 * high:.2f})"


def _molecules(found: dict, positions: np.ndarray, topology) -> dict:
    reach = reach_of(positions, topology)
    cards = []
    for k, (entry, xyz) in enumerate(zip(shown_clusters(found), positions, strict=True), 1):
        drawn = draw_molecule(xyz, topology, reach=reach).figure
        assert isinstance(drawn, Figure), "axes of a figure of their own"
        cards.append(entry | {"title": cluster_title(k, entry), "source": _svg(drawn)})
    return {"cards": cards, "scene": scene(positions, topology)}


def render(
    result: dict, pictures: list[Picture], molecules: np.ndarray | None, topology, digest: str
) -> str:
    """Return the report as HTML text.

    Parameters
    ----------
    result : dict
        From `molflow.comparison.compare`.
    pictures : list of Picture
        From `molflow.analysis.reporting.pictures.pictures`.
    molecules : ndarray, (k, n_atoms, 3), or None
        Representatives of clusters, nm, from
        `molflow.analysis.reporting.representatives.positions_of`.
    topology : mdtraj.Topology
        Of the molecules.
    digest : str
        SHA-256 of the file of numbers that belongs to the report.
    """
    folder = resources.files("molflow.analysis.reporting").joinpath("templates")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    environment.globals["share_interval"] = share_interval
    environment.globals["weight_interval"] = weight_interval
    template = folder.joinpath("report.html.j2").read_text(encoding="utf-8")
    viewer = folder.joinpath("molecules.js").read_text(encoding="utf-8")
    found = result["clusters"]
    return environment.from_string(template).render(
        r=result,
        digest=digest,
        pictures=[
            {"title": p.title, "note": p.note, "width": p.width, "source": _svg(p.figure())}
            for p in pictures
            if p.name != "clusters"  # they are shown one by one, and turn
        ],
        molecules=None if molecules is None else _molecules(found, molecules, topology),
        viewer=viewer,
    )
