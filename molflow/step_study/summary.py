"""From comparisons to the rows of a table: means over path seeds, floors beside them."""

from __future__ import annotations

import numpy as np

#: Scores that are kept of every comparison, where they apply.
SCORES = (
    "fes_rmse", "pmf_error", "js_divergence", "torus_w2",
    "delta_f_alpha_l_error", "torsion_js_distance", "energy_w1", "energy_w2",
)  # fmt: skip
#: Names in a summary, of a score and of its floor.
_HEADLINES = {
    "fes_rmse": ("fes_rmse", "fes_floor"),
    "js_divergence": ("js_divergence", "js_floor"),
    "pmf_error": ("pmf_error", "pmf_floor"),
    "torsion_js_distance": ("torsion_js_distance", "torsion_js_floor"),
    "energy_w2": ("energy_w2", "energy_w2_floor"),
}


def figures(result: dict) -> dict:
    """Pick what a study needs out of a comparison.

    Parameters
    ----------
    result : dict
        From `molflow.compare`.

    Returns
    -------
    dict
        Of each score in `SCORES` that applies ``value``, ``floor`` and ``unit``; ``valid`` (share),
        ``wrong_hand`` (count, None where no hand can be seen), ``bond_sd_ratio`` (``median``,
        ``lowest``, ``highest``, or None), ``basins`` and ``delta_f_alpha_l``.
    """
    metrics = result["metrics"]
    ratios = [
        row["sd_ratio"]
        for row in result["geometry"]
        if row["kind"] == "bond" and row["sd_ratio"] is not None
    ]
    return {
        **{
            name: {key: metrics[name][key] for key in ("value", "floor", "unit")}
            for name in SCORES
            if name in metrics
        },
        "valid": result["validity"]["valid"] / result["n"],
        "wrong_hand": result["validity"]["wrong_hand"],
        "bond_sd_ratio": {
            "median": float(np.median(ratios)), "lowest": min(ratios), "highest": max(ratios),
        } if ratios else None,
        "basins": result["observables"]["basins"],
        "delta_f_alpha_l": result["observables"]["delta_f_alpha_l"],
    }  # fmt: skip


def _mean(values: list) -> float | None:
    """Return the mean, None if a value is missing or none is there."""
    if not values or any(value is None for value in values):
        return None
    return float(np.mean(values))


def _score(rows: list[dict], name: str, key: str) -> float | None:
    return _mean([row[name][key] if name in row else None for row in rows])


def summarise(rows: list[dict]) -> dict:
    """Return the means over path seeds at one number of steps.

    Parameters
    ----------
    rows : list of dict
        From `figures`, one a seed.

    Returns
    -------
    dict
        ``fes_rmse``, ``fes_floor``, ..., None where a score does not apply; ``fes_rmse_sd`` and
        ``energy_w2_sd`` over seeds, ``wrong_hand`` summed over them.
    """
    summary: dict[str, float | None] = {}
    for name, (value, floor) in _HEADLINES.items():
        summary |= {value: _score(rows, name, "value"), floor: _score(rows, name, "floor")}
    for name in ("fes_rmse", "energy_w2"):
        values = [row[name]["value"] for row in rows if name in row]
        known = len(values) > 1 and None not in values
        summary[f"{name}_sd"] = float(np.std(values, ddof=1)) if known else None
    ratios = [row["bond_sd_ratio"] for row in rows if row["bond_sd_ratio"] is not None]
    hands = [row["wrong_hand"] for row in rows if row["wrong_hand"] is not None]
    return summary | {
        "delta_f_error": _score(rows, "delta_f_alpha_l_error", "value"),
        "bond_sd_ratio": _mean([ratio["median"] for ratio in ratios]),
        "bond_sd_ratio_range": [
            min(ratio["lowest"] for ratio in ratios), max(ratio["highest"] for ratio in ratios),
        ] if ratios else None,
        "valid": _mean([row["valid"] for row in rows]),
        "wrong_hand": int(sum(hands)) if hands else None,
        "basins": _basins(rows),
    }  # fmt: skip


def _basins(rows: list[dict]) -> dict | None:
    """Return mean shares of the basins; None where not exactly one residue has phi and psi."""
    if any(row["basins"] is None for row in rows):
        return None
    return {
        side: {
            name: float(np.mean([row["basins"][side][name] for row in rows]))
            for name in rows[0]["basins"][side]
        }
        for side in ("model", "reference")
    }


def table(rows: dict[str, dict], drawn: int) -> str:
    """Return the table of a study in Markdown.

    Parameters
    ----------
    rows : dict
        Number of steps to what `summarise` returned.
    drawn : int
        Samples at each number of steps, over all seeds.
    """
    # A molecule without phi and psi has no free-energy map over them: its torsions one by one.
    maps = any(row["fes_rmse"] is not None for row in rows.values())
    torsions = ("fes_rmse", "fes_floor") if maps else ("torsion_js_distance", "torsion_js_floor")
    heading = "`fes_rmse` / kT (floor)" if maps else "`torsion_js_distance` / √nats (floor)"
    lines = [
        f"| network calls | {heading} | error of ΔF(αL) / kT | energy W2 / kT (floor) "
        "| bond sd / MD | valid | wrong hand |",
        "|---|---|---|---|---|---|---|",
    ]
    for nfe, row in rows.items():
        hand = "–" if row["wrong_hand"] is None else f"{row['wrong_hand']} of {drawn:,}"
        value, floor = (_shown(row.get(name)) for name in torsions)
        lines.append(
            f"| {nfe} | {value} ({floor}) "
            f"| {_shown(row['delta_f_error'])} "
            f"| {_shown(row['energy_w2'], '.3g')} ({_shown(row['energy_w2_floor'])}) "
            f"| {_shown(row['bond_sd_ratio'])} | {row['valid']:.2%} | {hand} |"
        )
    return "\n".join(lines)


def _shown(value: float | None, form: str = ".2f") -> str:
    return "–" if value is None else format(value, form)
