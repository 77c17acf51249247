"""The verdict in plain words, by documented limits."""

from __future__ import annotations

import math

from molflow.analysis import resolution
from molflow.analysis.molecule.validity import PUBLISHED, TESTS
from molflow.analysis.observables import BASIN_NAMES
from molflow.analysis.resolution import INDEPENDENT
from molflow.analysis.statistics import CHANCE
from molflow.analysis.weight_report import LARGEST_SHARE

#: A basin is missing if the model's share is below this part of the reference's.
BASIN_MISSING = 0.1
#: A basin can be missed by chance if no more samples than this are expected in it.
EXPECTED = 5
#: Largest excess of `torsion_misplaced_worst` over its floor: good, fair.
MISPLACED = (0.05, 0.15)
#: Largest excess of `fes_rmse` over its floor, kT: good, fair.
FREE_ENERGY = (0.1, 0.3)
#: Largest excess of the error of the free energy of alpha-L over its floor, kT: good, fair.
ALPHA_L = (0.25, 0.75)
#: Largest excess of `energy_w1` in standard deviations of the reference's U/kT: good, fair.
ENERGY = (0.1, 0.5)
#: Largest |ln| of the typical ratio of bond standard deviations: good (5 %), fair (33 %).
BOND_WIDTH = (0.05, 0.285)
#: Largest share of invalid samples in excess of the reference's own: good, fair.
INVALID = (0.001, 0.01)
#: Largest share of samples that are copies of another: good, fair.
REPEATED = (0.001, 0.01)
#: Largest excess of `relaxation_error` over its floor: good, fair.
RELAXATION = (0.05, 0.15)
#: Least autocorrelation of the reference after one frame for the order in time to be judged.
REMEMBERED = 0.1

#: What a headline says where there is too little data for the rest.
_REST = " What these data can tell agrees."
#: Reasons that a headline tells.
_TOLD = 3

_LEVELS = ("good", "fair", "bad")
#: Half the width of the intervals of scores, in their standard deviations.
_NORMAL = 1.96
#: What is said of a score whose excess is large and may be chance.
_TOO_FEW = "so few independent samples cannot tell"


def _level(value: float, limits: tuple[float, float]) -> str:
    return _LEVELS[sum(value > limit for limit in limits)]


def _check(aspect: str, level: str, sentence: str) -> dict[str, str]:
    return {"aspect": aspect, "level": level, "sentence": sentence}


def _worth(result: dict) -> float:
    """Return how many independent samples of equal weight the ensemble is worth."""
    return result["statistics"]["model_effective"]


def _spread(row: dict) -> float:
    """Return the standard deviation of a score by its interval, 0 if it has none."""
    if row["interval"] is None or row["interval"][1] is None or row["value"] is None:
        return 0.0
    return (row["interval"][1] - row["value"]) / _NORMAL


def _beyond_chance(level: str, *rows: dict) -> str:
    """Return a level, or what is left of it where chance may have made the excess of every score.

    A small excess is good then; a large one is not known to be anything.
    """
    if any(row["excess"] is None or row["excess"] > CHANCE * _spread(row) for row in rows):
        return level
    return "unknown" if level == "bad" else "good"


def _weights(result: dict) -> dict | None:
    sides = {side: w for side, w in result.get("weights", {}).items() if w is not None}
    if not sides:
        return None
    levels, sentences = [], []
    for side, w in sides.items():
        k = -math.inf if w["pareto_k"] is None else w["pareto_k"]
        tail = "good" if k <= w["largest_k"] else "fair" if k < 1 else "bad"
        levels += [tail, _level(w["largest_share"], LARGEST_SHARE)]
        of = "ensemble" if side == "model" else "reference"
        text = (
            f"the {of}'s weights are worth {w['effective']:,.0f} of {w['n']:,} equal ones "
            f"({w['effective_share']:.1%}), the largest holds {w['largest_share']:.2%}"
        )
        if w["pareto_k"] is not None:
            text += f", their tail index is {k:.2f}".replace("-", "−")
            text += {
                "good": f" (good up to {w['largest_k']:.2f})",
                "fair": f": above {w['largest_k']:.2f} what they say converges slowly",
                "bad": ": from 1 on weighted means need not converge",
            }[tail]
        sentences.append(text)
    level = max(levels, key=_LEVELS.index)
    return _check("Weights", level, f"T{'; '.join(sentences)[1:]}.")


def _basins(result: dict) -> dict | None:
    residues = result["observables"]["residues"]
    if not residues:
        return None
    missing = []
    for residue, entry in residues.items():
        shares, where = entry["basins"], f" of {residue}" if len(residues) > 1 else ""
        missing += [
            f"{BASIN_NAMES[name]}{where} ({shares['model'][name]:.2%} instead of {share:.2%})"
            for name, share in shares["reference"].items()
            if share > 0
            and shares["model"][name] < BASIN_MISSING * share
            and share * _worth(result) > EXPECTED
        ]
    if missing:
        return _check("Basins", "bad", f"Missing or nearly so: {_several(missing)}.")
    if len(residues) > 1:
        return _check(
            "Basins", "good",
            f"No basin of the reference is missing in any of {len(residues)} residues.",
        )  # fmt: skip
    (entry,) = residues.values()
    text = ", ".join(
        f"{BASIN_NAMES[name]} {entry['basins']['model'][name]:.1%} (reference {share:.1%})"
        for name, share in entry["basins"]["reference"].items()
    )
    return _check("Basins", "good", f"No basin of the reference is missing: {text}.")


def _several(texts: list[str], most: int = 5) -> str:
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _torsions(result: dict) -> dict | None:
    rows = result["observables"]["torsions"]
    score = result["metrics"].get("torsion_misplaced_worst")
    if not rows or score is None:
        return None
    missing = [
        f"{row['name']} near {well['middle']:.0f}° ({well['model']:.2%} instead of "
        f"{well['reference']:.2%})"
        for row in rows
        for well in row["wells"]
        if well["model"] < BASIN_MISSING * well["reference"]
        and well["reference"] * _worth(result) > EXPECTED
    ]
    worst = max(rows, key=lambda row: row["misplaced"])
    level = _beyond_chance(_level(score["excess"], MISPLACED), score)
    if missing:
        return _check("Torsions", "bad", f"Wells are missing or nearly so: {_several(missing)}.")
    return _check(
        "Torsions", level,
        f"The worst torsion, {worst['name']}, has {worst['misplaced']:.1%} of its samples in the "
        f"wrong place, where MD against MD has {score['floor']:.1%}"
        + (f"; {_TOO_FEW} more." if level == "unknown" else "."),
    )  # fmt: skip


def _free_energy(result: dict) -> dict | None:
    row = result["metrics"].get("fes_rmse")
    if row is None:
        return None
    level = _beyond_chance(_level(row["excess"], FREE_ENERGY), row)
    words = {
        "good": "The free-energy map agrees with the reference",
        "fair": "The free-energy map has the right shape with visible errors",
        "bad": "The free-energy map is wrong",
        "unknown": f"The free-energy map differs, and {_TOO_FEW} whether it is wrong",
    }[level]
    return _check(
        "Free-energy map", level,
        f"{words}: {row['value']:.2f} kT off on average, where MD against MD gives "
        f"{row['floor']:.2f} kT.",
    )  # fmt: skip


def _alpha_l(result: dict) -> dict | None:
    sides = result["observables"]["delta_f_alpha_l"]
    if sides is None:
        return None
    row = result["metrics"]["delta_f_alpha_l_error"]
    model, reference = sides["model"], sides["reference"]
    if reference["value"] is None:
        return _check(
            "Free energy of αL", "unknown",
            "The reference never visits αL (0 < phi < 2 rad), so its free energy cannot be "
            "judged.",
        )  # fmt: skip
    level = _beyond_chance(_level(row["excess"], ALPHA_L), row)
    if model["value"] is None:
        # Few samples may miss a rare basin by chance, then the bound says little.
        expected = result["observables"]["basins"]["reference"]["alpha_l"] * _worth(result)
        level = "bad" if expected > EXPECTED else "unknown"
        text = f"No sample is in αL, where about {expected:.0f} were expected."
    else:
        low, high = reference["interval"]
        text = (
            f"αL lies {model['value']:.2f} kT above the rest; the reference says "
            f"{reference['value']:.2f} kT (95 % interval {low:.2f} to {high:.2f})"
            + (f"; {_TOO_FEW} whether that is wrong." if level == "unknown" else ".")
        )
    return _check("Free energy of αL", level, text)


def _energy(result: dict) -> dict:
    if "energy_w1" not in result["metrics"]:
        return _check("Energies", "unknown", "Potential energies were not compared.")
    row, sides = result["metrics"]["energy_w1"], result["observables"]["energy"]
    excess = float("inf") if row["excess"] is None else row["excess"]
    # A distance may hang on one huge energy, and is uncertain then however many others are wrong.
    seen = row, result["metrics"]["energy_tail"]
    level = _beyond_chance(_level(excess / sides["reference"]["sd"], ENERGY), *seen)
    if sides["not_finite"]:
        level = "bad"
    shift = sides["model"]["median"] - sides["reference"]["median"]
    side = "above" if shift > 0 else "below"
    words = {
        "good": "Energies follow the Boltzmann distribution of the reference",
        "fair": "Energies are close to the reference but shifted or misshapen",
        "bad": "Energies are not those of the reference",
        "unknown": f"Energies differ, and {_TOO_FEW} whether they are wrong",
    }[level]
    text = f"{words}: the median is {_kt(abs(shift))} kT {side} it"
    parts = sides.get("by_force")
    if level != "good" and parts:
        common = parts["model"].keys() & parts["reference"].keys()
        moved = {name: parts["model"][name] - parts["reference"][name] for name in sorted(common)}
        most = max(moved, key=lambda name: abs(moved[name]))
        text += f", the largest part of it ({_kt(moved[most], '+')} kT) in the {most}"
    tail = result["metrics"]["energy_tail"]["value"]
    text += f", and {tail:.2%} of the samples lie above its 99.9 % quantile."
    if sides["not_finite"]:
        text += f" {sides['not_finite']} energies are not finite."
    return _check("Energies", level, text)


def _kt(value: float, sign: str = "-") -> str:
    """Return an energy for people to read: those of broken samples have a dozen digits."""
    return f"{value:{sign}.2f}" if abs(value) < 1e5 else f"{value:{sign}.1e}"


def _bonds(result: dict) -> dict:
    ratios = sorted(
        row["sd_ratio"]
        for row in result["geometry"]
        if row["kind"] == "bond" and row["sd_ratio"] is not None
    )
    # A few broken bonds would widen the marginals: where there are, the valid samples count.
    row = (result["metrics_valid"] or result["metrics"]).get("bond_stiffness")
    if not ratios or row is None:
        return _check("Bond fluctuations", "unknown", "There are no flexible bonds to compare.")
    if row["value"] is None:
        return _check("Bond fluctuations", "bad", "A typical bond does not fluctuate at all.")
    middle = (1 + row["value"]) ** -0.5
    certain = abs(row["value"]) > CHANCE * _spread(row)
    level = _level(abs(math.log(middle)), BOND_WIDTH)
    if not certain:
        # A large ratio that chance may have made is not good either: it is not known.
        level = "unknown" if level == "bad" else "good"
    soft = middle > 1
    words = {
        "good": "Bonds vibrate as they should",
        "fair": f"Bonds vibrate somewhat too {'much' if soft else 'little'}",
        "bad": f"Bonds vibrate far too {'much' if soft else 'little'}",
        "unknown": "How bonds vibrate cannot be told from so few samples",
    }[level]
    if level in ("fair", "bad"):
        words += (
            f", as if they were {abs(row['value']):.0%} too {'soft' if soft else 'stiff'}"
        )
    return _check(
        "Bond fluctuations", level,
        f"{words}: their standard deviations are {middle:.2f} times the reference's "
        + (
            "(median, of the valid samples)."
            if result["metrics_valid"]
            else f"(median; from {ratios[0]:.2f} to {ratios[-1]:.2f})."
        ),
    )  # fmt: skip


def _validity(result: dict) -> dict:
    counts, control = result["validity"], result["validity_reference"]
    n = counts["samples"]
    invalid, expected = 1 - _share(counts, "valid"), 1 - _share(control, "valid")
    level = _level(invalid - expected, INVALID)
    if expected > INVALID[1]:
        level = "unknown"  # nothing is good by the measure of what is unsound itself
    keys = ["not_finite", *(TESTS[test][0] for test in PUBLISHED)]
    failed = _reasons(counts, keys)
    text = f"{counts['valid']:,} of {n:,} samples are valid"
    if "shares" in counts:
        text += f", {counts['shares']['valid']:.2%} by their weights"
    text += f" ({failed})." if failed else "."
    if counts["wrong_hand"]:
        text += f" {_share(counts, 'wrong_hand'):.2%} are mirror images at a stereocentre."
    if counts["broken_bond"]:
        text += f" {_share(counts, 'broken_bond'):.2%} are broken."
    if counts["wrong_hand"] is None:
        text += " These atoms carry no stereocentre, so mirror images cannot be seen."
    return _check("Validity and chirality", level, text)


def _share(counts: dict, key: str) -> float:
    """Return a share of the samples, or of their weight where they are weighted."""
    return counts["shares"][key] if "shares" in counts else counts[key] / counts["samples"]


def _bent(counts: dict) -> float:
    """Return the share that is valid but for angles, planes and rings."""
    if "shares" in counts:
        return counts["shares"]["valid"] - counts["shares"]["strictly_valid"]
    return (counts["valid"] - counts["strictly_valid"]) / counts["samples"]


def _reasons(counts: dict, keys) -> str:
    words = {"not_finite": "not finite"} | dict(TESTS.values())
    return ", ".join(f"{counts[key]:,} {words[key]}" for key in keys if counts[key])


def _shape(result: dict) -> dict | None:
    counts, control = result["validity"], result["validity_reference"]
    keys = [key for test, (key, _) in TESTS.items() if test not in PUBLISHED]
    if all(counts[key] is None for key in keys):
        return None
    # Of the samples that are valid otherwise, so that one broken bond is not told twice.
    bent, expected = _bent(counts), _bent(control)
    failed = _reasons(counts, keys)
    level = _level(bent - expected, INVALID) if counts["valid"] else "unknown"
    return _check(
        "Angles, planes and rings", level,
        f"Out of the reference's range: {failed}." if failed
        else "Every bond angle, planar centre and ring is within the reference's range.",
    )  # fmt: skip


def _repeated(result: dict) -> dict | None:
    repeated = result["observables"]["repeated"]
    share = repeated["copies"] / result["n_finite"]
    if not repeated["copies"]:
        return None
    if result.get("ensemble", {}).get("resampled"):
        return _check(
            "Repeated samples", "fair",
            f"{repeated['copies']:,} samples ({share:.2%}) are copies that resampling by weight "
            "made, so floors and intervals are too narrow: compare the weighted ensemble itself.",
        )  # fmt: skip
    return _check(
        "Repeated samples", _level(share, REPEATED),
        f"{repeated['copies']:,} samples ({share:.2%}) are exact copies of another; sample "
        f"{repeated['sample']} occurs {repeated['most']:,} times.",
    )  # fmt: skip


def relaxation_level(value: float, floor: float, by_chance: float | None) -> str:
    """Return the level of `relaxation_error`; arguments from `kinetics.order_in_time`."""
    level, known = _level(value - floor, RELAXATION), by_chance is not None and value > by_chance
    return level if known else "unknown" if level == "bad" else "good"


def _order(result: dict) -> dict | None:
    if "relaxation" not in result["observables"]:
        return None
    curves, row = result["observables"]["relaxation"], result["metrics"].get("relaxation_error")
    aspect = "Order in time"
    if "relaxation_error" in result.get("not_scored", {}):
        return _check(aspect, "unknown", result["not_scored"]["relaxation_error"])
    times = result["observables"]["times"]
    if times["shuffled"]:
        return _check(
            aspect, "bad",
            "The frames do not stand in the order of their times, as if they had been shuffled: "
            f"{times['back']:,} of them are of an earlier time than the one before.",
        )  # fmt: skip
    if curves is None:
        return _check(
            aspect, "unknown",
            "The ensemble and the reference have no times in common, so its order in time cannot "
            "be judged.",
        )  # fmt: skip
    lag, model, truth = curves["lags_ps"][0], curves["model"][0], curves["reference"][0]
    told = (
        f"{lag:g} ps later the torsions remember {max(model, 0):.0%} of where they were, the "
        f"reference's {max(truth, 0):.0%}"
    )
    if truth < REMEMBERED:
        return _check(aspect, "unknown", f"The frames are too far apart to tell: {told}.")
    level = relaxation_level(row["value"], row["floor"], curves["by_chance"])
    if level == "unknown":
        return _check(aspect, level, f"The trajectory is too short to tell: {told}.")
    if level == "good":
        return _check(aspect, level, f"The torsions relax as in the reference: {told}.")
    if model < 0.1 * truth and not times["said"]:
        return _check(
            aspect, "unknown",
            "The frames are in no order of time, as if they had been shuffled, although their file "
            f"has times: {told}. Independent samples may be so; if it is a trajectory, say so "
            "(--frame-interval).",
        )  # fmt: skip
    if model < 0.1 * truth:
        words = "The frames are in no order of time, as if they had been shuffled"
    else:
        words = f"The torsions relax too {'fast' if model < truth else 'slowly'}"
    return _check(aspect, level, f"{words}: {told}.")


def _serious(result: dict) -> dict[str, tuple[str, float, str]]:
    """Return the excess from which on a score is bad, as `molflow.analysis.resolution` takes it."""
    found = {
        "fes_rmse": ("Free-energy map", FREE_ENERGY[1], "{:.2g} kT"),
        "delta_f_alpha_l_error": ("Free energy of αL", ALPHA_L[1], "{:.2g} kT"),
        "torsion_misplaced_worst": ("Torsions", MISPLACED[1], "{:.0%}"),
    }
    if "energy" in result["observables"]:
        deviation = result["observables"]["energy"]["reference"]["sd"]
        found["energy_w1"] = ("Energies", ENERGY[1] * deviation, "{:.2g} kT")
    return found


def verdict(result: dict) -> dict:
    """Judge a scorecard.

    Parameters
    ----------
    result : dict
        From `molflow.analysis.scorecard.score`.

    Returns
    -------
    dict
        ``level`` (good, fair or bad: the worst of the checks that could be made; unknown if none of
        these is fair or bad, and there is too little data to judge any torsion by),
        ``headline`` and ``checks``, a list of ``aspect``, ``level`` (or unknown), ``sentence``.
        The limits are the constants of this module.
    """
    judges = (
        _weights, _basins, _free_energy, _alpha_l, _torsions, _energy, _bonds, _validity, _shape,
        _repeated, _order,
    )  # fmt: skip
    checks = [check for judge in judges if (check := judge(result)) is not None]
    blurred = resolution.withdraw(checks, result, _serious(result))
    made = [c["level"] for c in checks if c["level"] in _LEVELS]
    level = max(made, key=_LEVELS.index, default="good")
    failed = [c["aspect"][0].lower() + c["aspect"][1:] for c in checks if c["level"] == level]
    unknown = [c["aspect"][0].lower() + c["aspect"][1:] for c in checks if c["level"] == "unknown"]
    headline = {
        "good": "This ensemble agrees with the reference within what the data can tell.",
        "fair": f"Usable with care: visible deviations from the reference in {', '.join(failed)}.",
        "bad": f"Do not trust this ensemble for what depends on: {', '.join(failed)}.",
    }[level]
    # One score alone that is not sharp enough is told with those that are not judged.
    wide = {"Free-energy map", "Torsions"} & {check["aspect"] for check in checks} or {"Energies"}
    if wide <= blurred.keys() and level == "good":
        level = "unknown"
        headline = f"{resolution.headline(result, blurred)}{_REST}"
    elif wide <= blurred.keys():
        headline += f" {resolution.headline(result, blurred)}"
    if unknown:
        headline += f" Not judged: {', '.join(unknown)}."
    return {"level": level, "headline": headline, "checks": checks}


def usability(result: dict) -> dict:
    """Return the verdict of a scorecard as that on a run of the whole way: usable, or why not.

    Parameters
    ----------
    result : dict
        With the ``verdict`` of `verdict`.

    Returns
    -------
    dict
        The same; an ensemble that is bad, or was judged by too little data or by fewer than
        `INDEPENDENT` independent conformations, has the level bad and the headline "Not usable
        because ...".
    """
    found = result["verdict"]
    reasons = [check["sentence"] for check in found["checks"] if check["level"] == "bad"]
    if found["level"] == "unknown":
        reasons.insert(0, found["headline"].partition(_REST)[0])
    effective = result["statistics"]["reference_effective"]
    checks = list(found["checks"])
    if effective is not None and effective < INDEPENDENT:
        reasons.insert(0, (
            f"The molecular dynamics that were held out hold about {effective:.0f} independent "
            f"conformations, and fewer than {INDEPENDENT} cannot tell good from bad."
        ))  # fmt: skip
        checks.insert(0, _check("Held-out dynamics", "bad", reasons[0]))
    if not reasons:
        return found
    told = [reason[0].lower() + reason[1:].rstrip(".") for reason in reasons]
    more = f"; and for {len(told) - _TOLD} more reasons, below" if len(told) > _TOLD else ""
    headline = f"Not usable because {'; '.join(told[:_TOLD])}{more}."
    return {"level": "bad", "headline": headline, "checks": checks}
