"""The verdict in plain words, by documented limits."""

from __future__ import annotations

#: A basin is missing if the model's share is below this part of the reference's.
BASIN_MISSING = 0.1
#: Largest excess of `fes_rmse` over its floor, kT: good, fair.
FREE_ENERGY = (0.1, 0.3)
#: Largest excess of the error of the free energy of alpha-L over its floor, kT: good, fair.
ALPHA_L = (0.25, 0.75)
#: Largest excess of `energy_w1` in standard deviations of the reference's U/kT: good, fair.
ENERGY = (0.1, 0.5)
#: Largest |ln| of the median ratio of bond standard deviations: good (10 %), fair (33 %).
BOND_WIDTH = (0.095, 0.285)
#: Largest share of invalid samples in excess of the reference's own: good, fair.
INVALID = (0.001, 0.01)

_LEVELS = ("good", "fair", "bad")
_BASIN_NAMES = {"beta": "β", "alpha_r": "αR", "alpha_l": "αL"}


def _level(value: float, limits: tuple[float, float]) -> str:
    return _LEVELS[sum(value > limit for limit in limits)]


def _check(aspect: str, level: str, sentence: str) -> dict[str, str]:
    return {"aspect": aspect, "level": level, "sentence": sentence}


def _basins(result: dict) -> dict:
    shares = result["observables"]["basins"]
    missing = [
        f"{_BASIN_NAMES[name]} ({shares['model'][name]:.2%} instead of {share:.2%})"
        for name, share in shares["reference"].items()
        if share > 0 and shares["model"][name] < BASIN_MISSING * share
    ]
    if missing:
        return _check("Basins", "bad", f"Missing or nearly so: {', '.join(missing)}.")
    text = ", ".join(
        f"{_BASIN_NAMES[name]} {shares['model'][name]:.1%} (reference {share:.1%})"
        for name, share in shares["reference"].items()
    )
    return _check("Basins", "good", f"Every basin of the reference is visited: {text}.")


def _free_energy(result: dict) -> dict:
    row = result["metrics"]["fes_rmse"]
    level = _level(row["excess"], FREE_ENERGY)
    words = {
        "good": "The free-energy map agrees with the reference",
        "fair": "The free-energy map has the right shape with visible errors",
        "bad": "The free-energy map is wrong",
    }[level]
    return _check(
        "Free-energy map", level,
        f"{words}: {row['value']:.2f} kT off on average, where MD against MD gives "
        f"{row['floor']:.2f} kT.",
    )  # fmt: skip


def _alpha_l(result: dict) -> dict:
    row = result["metrics"]["delta_f_alpha_l_error"]
    sides = result["observables"]["delta_f_alpha_l"]
    model, reference = sides["model"], sides["reference"]
    if reference["value"] is None:
        return _check(
            "Free energy of αL", "unknown",
            "The reference never visits αL (0 < phi < 2 rad), so its free energy cannot be "
            "judged.",
        )  # fmt: skip
    level = _level(row["excess"], ALPHA_L)
    if model["value"] is None:
        # Few samples may miss a rare basin by chance, then the bound says little.
        expected = result["observables"]["basins"]["reference"]["alpha_l"] * result["n_finite"]
        level = "bad" if expected > 5 else "unknown"
        text = f"No sample is in αL, where about {expected:.0f} were expected."
    else:
        low, high = reference["interval"]
        text = (
            f"αL lies {model['value']:.2f} kT above the rest; the reference says "
            f"{reference['value']:.2f} kT (95 % interval {low:.2f} to {high:.2f})."
        )
    return _check("Free energy of αL", level, text)


def _energy(result: dict) -> dict:
    if "energy_w1" not in result["metrics"]:
        return _check("Energies", "unknown", "Potential energies were not compared.")
    row, sides = result["metrics"]["energy_w1"], result["observables"]["energy"]
    excess = float("inf") if row["excess"] is None else row["excess"]
    level = _level(excess / sides["reference"]["sd"], ENERGY)
    if sides["not_finite"]:
        level = "bad"
    shift = sides["model"]["median"] - sides["reference"]["median"]
    side = "above" if shift > 0 else "below"
    words = {
        "good": "Energies follow the Boltzmann distribution of the reference",
        "fair": "Energies are close to the reference but shifted or misshapen",
        "bad": "Energies are not those of the reference",
    }[level]
    text = f"{words}: the median is {abs(shift):.2f} kT {side} it"
    tail = result["metrics"]["energy_tail"]["value"]
    text += f", and {tail:.2%} of the samples lie above its 99.9 % quantile."
    if sides["not_finite"]:
        text += f" {sides['not_finite']} energies are not finite."
    return _check("Energies", level, text)


def _bonds(result: dict) -> dict:
    ratios = sorted(
        row["sd_ratio"]
        for row in result["geometry"]
        if row["kind"] == "bond" and row["sd_ratio"] is not None
    )
    row = result["metrics"].get("bond_sd_error")
    if not ratios or row is None or row["value"] is None:
        level = "bad" if row is not None and ratios else "unknown"
        text = "A typical bond does not fluctuate at all." if ratios else (
            "There are no flexible bonds to compare."
        )
        return _check("Bond fluctuations", level, text)
    level = _level(row["value"], BOND_WIDTH)
    middle = ratios[len(ratios) // 2]
    words = {
        "good": "Bonds vibrate as they should",
        "fair": "Bonds vibrate somewhat too " + ("little" if middle < 1 else "much"),
        "bad": "Bonds vibrate far too " + ("little" if middle < 1 else "much"),
    }[level]
    return _check(
        "Bond fluctuations", level,
        f"{words}: their standard deviations are {middle:.2f} times the reference's "
        f"(median; from {ratios[0]:.2f} to {ratios[-1]:.2f}).",
    )  # fmt: skip


def _validity(result: dict) -> dict:
    counts, control = result["validity"], result["validity_reference"]
    n = counts["samples"]
    invalid, expected = 1 - counts["valid"] / n, 1 - control["valid"] / control["samples"]
    level = _level(invalid - expected, INVALID)
    names = {
        "not_finite": "not finite",
        "broken_bond": "with a broken bond",
        "clash": "with a clash",
        "wrong_hand": "of the wrong hand",
    }
    reasons = [f"{counts[key]} {text}" for key, text in names.items() if counts[key]]
    text = f"{counts['valid']:,} of {n:,} samples are valid"
    text += f" ({', '.join(reasons)})." if reasons else "."
    if counts["wrong_hand"] is None:
        text += " These atoms carry no stereocentre, so mirror images cannot be seen."
    return _check("Validity and chirality", level, text)


def verdict(result: dict) -> dict:
    """Judge a scorecard.

    Parameters
    ----------
    result : dict
        From `molflow.analysis.scorecard.score`.

    Returns
    -------
    dict
        ``level`` (good, fair or bad: the worst of the checks that could be made), ``headline``
        (one sentence) and ``checks``, a list of ``aspect``, ``level`` (or unknown), ``sentence``.
        The limits are the constants of this module.
    """
    checks = [f(result) for f in (_basins, _free_energy, _alpha_l, _energy, _bonds, _validity)]
    level = max((c["level"] for c in checks if c["level"] in _LEVELS), key=_LEVELS.index)
    failed = [c["aspect"][0].lower() + c["aspect"][1:] for c in checks if c["level"] == level]
    unknown = [c["aspect"][0].lower() + c["aspect"][1:] for c in checks if c["level"] == "unknown"]
    headline = {
        "good": "This ensemble agrees with the reference within what the data can tell.",
        "fair": f"Usable with care: {', '.join(failed)} deviate visibly from the reference.",
        "bad": f"Do not trust this ensemble for what depends on: {', '.join(failed)}.",
    }[level]
    if unknown:
        headline += f" Not judged: {', '.join(unknown)}."
    return {"level": level, "headline": headline, "checks": checks}
