"""Whether two parts of a reference agree well enough to judge an ensemble by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Independent conformations below which nothing is judged well, whatever the floors are.
INDEPENDENT = 30
#: Conformations below which their spread says nothing, and the aspects that are of it.
FEW = 10
_SPREADS = ("Free-energy map", "Free energy of αL", "Torsions", "Energies", "Bond fluctuations")


@dataclass(frozen=True)
class Blur:
    """A score whose floor is above the limit from which a difference would be serious.

    Attributes
    ----------
    aspect : str
        Of the verdict.
    value, floor : str
        With their unit, for people.
    limit : str
    excess : float
        The floor as a multiple of the limit, above 1.
    needed : float or None
        Independent conformations on either side with which the floor would be at the limit, at
        least `INDEPENDENT`.
    """

    aspect: str
    value: str
    floor: str
    limit: str
    excess: float
    needed: float | None

    @property
    def sentence(self) -> str:
        """What the verdict says of the aspect."""
        return (
            f"The {_lower(self.aspect)} cannot be judged: the ensemble is {self.value} off, but so "
            f"few frames of molecular dynamics are {self.floor} off from each other, and "
            f"{self.limit} would be serious."
        )


def blurs(result: Mapping, limits: Mapping[str, tuple[str, float, str]]) -> dict[str, Blur]:
    """Return the scores that cannot tell a serious difference from none, by aspect.

    A floor falls with the root of the independent conformations: its square is a (1/m + 1/r), with
    m and r those of its two sides, so it is at the limit where both have 2 a / limit². Distances
    that cannot become larger are of more than that.

    Parameters
    ----------
    result : mapping
        From `molflow.analysis.scorecard.score`.
    limits : mapping of str to tuple
        For each score the aspect of the verdict, the least serious difference and how it is
        printed, a format such as ``"{:.2f} kT"``.
    """
    sides = result["statistics"]["floor_effective"]
    found = {}
    for name, (aspect, limit, words) in limits.items():
        row = result["metrics"].get(name)
        if row is None or row["floor"] is None or row["value"] is None or row["floor"] <= limit:
            continue
        excess = row["floor"] / limit
        needed = None
        if sides is not None:
            needed = 2 * excess**2 / (1 / sides["model"] + 1 / sides["reference"])
            needed = max(needed, INDEPENDENT)
        value, floor, least = (words.format(x) for x in (row["value"], row["floor"], limit))
        found[aspect] = Blur(aspect, value, floor, least, excess, needed)
    return found


def withdraw(
    checks: list[dict[str, str]], result: Mapping, limits: Mapping[str, tuple[str, float, str]]
) -> dict[str, Blur]:
    """Make checks unknown that a handful of conformations or so high a floor cannot decide.

    Parameters
    ----------
    checks : list of dict
        ``aspect``, ``level`` and ``sentence``; changed.
    result, limits : mapping
        As `blurs` takes them.

    Returns
    -------
    dict of str to Blur
        Of the aspects whose floor is too high. What is wrong beyond chance and by far more than
        the floor is wrong all the same.
    """
    found, few = blurs(result, limits), result["n_finite"] < FEW
    blurred = {}
    for check in checks:
        aspect, blur = check["aspect"], found.get(check["aspect"])
        if few and aspect in _SPREADS and check["level"] in ("fair", "bad"):
            said = f"{result['n_finite']} conformations cannot tell"
            check |= {"level": "unknown", "sentence": f"{said}: {check['sentence']}"}
        if blur is not None and check["level"] in ("good", "unknown"):
            check |= {"level": "unknown", "sentence": blur.sentence}
            blurred[aspect] = blur
    return blurred


def headline(result: Mapping, found: Mapping[str, Blur]) -> str:
    """Return which side is too small to judge by, and how much more of it is needed."""
    worst = max(found.values(), key=lambda blur: blur.excess)
    numbers, needed = result["statistics"], worst.needed
    worth = {
        "reference": numbers["reference_effective"], "ensemble": numbers["model_effective"]
    }
    few = [side for side, n in worth.items() if needed is not None and n < needed] or ["reference"]
    subject = "Reference and ensemble are both too small"
    parts = "the reference of such a size"
    if few == ["reference"]:
        subject, parts = "The reference is too short", "it"
    elif few == ["ensemble"]:
        subject, parts = "The ensemble is too small", "the reference of its size"
    text = (
        f"{subject} to judge by: two parts of {parts} are {worst.floor} apart in the "
        f"{_lower(worst.aspect)}, where {worst.limit} would be serious."
    )
    if needed is None:
        return text
    told = [
        f"the {side} is worth about {_rounded(worth[side])} independent "
        f"conformation{'' if _rounded(worth[side]) == '1' else 's'}"
        for side in few
    ]
    text += f" {' and '.join(told).capitalize()}, and at least {_rounded(needed)} are needed"
    times = [needed / worth[side] for side in few]
    if len(few) == 1 and times[0] > 1:
        text += f", {_rounded(times[0])} times as many"
    return f"{text}."


def _lower(aspect: str) -> str:
    return aspect[0].lower() + aspect[1:]


def _rounded(number: float) -> str:
    """Return a number with two figures."""
    return f"{float(f'{number:.2g}'):,.{0 if number >= 9.5 else 1}f}".removesuffix(".0")
