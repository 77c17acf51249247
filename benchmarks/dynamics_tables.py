"""What `dynamics.py` measured, as Markdown."""

from __future__ import annotations

from record import markdown

#: Of modes.
KINDS = ("bond", "angle", "torsion")


def ensembles_table(results: dict) -> str:
    """Return temperatures, free energies, times and broken chains by kind of run."""
    heads = [
        "run", "of each chain", "largest error of a temperature", "bonds, angles, torsions / K",
        "`fes_rmse` beyond its floor / kT", "slowest time / MD", "broken",
    ]  # fmt: skip
    headline = f"{results['headline_fs']:g} fs"
    rows = {f"{lag} fs": row for lag, row in results["lags"].items()}
    if results["residual_noise"] is not None:
        rows[f"{headline}, residual noise"] = results["residual_noise"]
    rows |= {f"{headline}, {name.replace('_', ' ')}": row
             for name, row in results["states"].items()}  # fmt: skip
    lines = []
    for name, row in rows.items():
        broken = f"{row['broken']} of {results['chains']}"
        cells = ["–"] * 5
        if "temperature_error" in row:
            modes = row["watched"]["temperatures"]["modes"]
            kinds = ", ".join(f"{modes[kind]['value']:.0f}" for kind in KINDS)
            found = row.get("times", {}).get("timescale", {}).get("value")
            excess = row.get("fes_rmse", {}).get("excess")
            rest = ["–" if value is None else f"{value:.2f}" for value in (excess, found)]
            cells = [row["time"], f"{row['temperature_error']:.1%}", kinds, *rest]
        lines.append([name, *cells, broken])
    return markdown(heads, lines)


def strong_table(results: dict) -> str:
    """Return errors along paths by step, positions (Å) / velocities (sqrt(kT/m))."""
    kinds = {
        "map": "the map", "map_against_its_own_force": "the map, against its own force",
        "baoab": "BAOAB, true force", "euler_maruyama": "Euler-Maruyama, true force",
    }  # fmt: skip
    strong = results["strong"]
    steps = sorted({step for kind in kinds for step in strong[kind]["errors"]}, key=float)
    heads = ["along one path", *(f"{float(step):g} fs" for step in steps)]
    return markdown(heads, (
        [name, *(_both(strong[kind]["errors"].get(step)) for step in steps)]
        for kind, name in kinds.items()
    ))  # fmt: skip


def _both(row: dict | None) -> str:
    if row is None:
        return ""
    if row["velocity_thermal"] is None:
        return "lost"
    return f"{row['position_angstrom']:.2g} / {row['velocity_thermal']:.2g}"
