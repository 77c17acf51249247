"""The figure of a study: four aspects of quality against the number of network calls."""

from __future__ import annotations

from matplotlib.figure import Figure

from molflow.analysis.plots import quality_against_steps


def draw(summary: dict) -> Figure:
    """Draw free energy, energies, bond widths and closeness on the same path.

    Parameters
    ----------
    summary : dict
        ``quality`` and ``same_path_rmsd_nm`` of `molflow.study`.
    """
    rows = summary["quality"]
    steps = [int(nfe) for nfe in rows]

    def column(key: str) -> list:
        return [row[key] for row in rows.values()]

    panels = [
        ("free-energy map: RMSE / kT", column("fes_rmse"), column("fes_rmse_sd"),
         column("fes_floor"), "MD against MD"),
        ("torsions one by one: JS distance / √nats", column("torsion_js_distance"), None,
         column("torsion_js_floor"), "MD against MD"),
        ("energies: W2 / kT", column("energy_w2"), column("energy_w2_sd"),
         column("energy_w2_floor"), "MD against MD"),
        ("bonds: sd / sd of MD (median)", column("bond_sd_ratio"), None, [1.0] * len(steps),
         "right"),
    ]  # fmt: skip
    closeness = summary["same_path_rmsd_nm"]
    angstrom = [_times_ten(closeness[nfe]["mean"]) for nfe in rows]
    unrelated = _times_ten(closeness["unrelated"]["mean"])
    panels.append((
        f"RMSD / Å to {closeness['finest']} network calls\non the same path", angstrom, None,
        [unrelated] * len(steps), "unrelated paths",
    ))  # fmt: skip
    # Torsions one by one are shown of molecules that have no map of two.
    del panels[1 if any(value is not None for value in panels[0][1]) else 0]
    panels = [panel for panel in panels if any(value is not None for value in panel[1])]
    figure = Figure(figsize=(3.5 * len(panels), 3.2), layout="constrained")
    for axes, (label, values, spread, floor, name) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        quality_against_steps(steps, values, label, spread, floor, name, axes)
    return figure


def _times_ten(value: float | None) -> float | None:
    return None if value is None else 10 * value
