"""Which samples are sound, which are not, and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from molflow.analysis.molecule.geometry import measure
from molflow.analysis.molecule.limits import (
    BOND_TOLERANCE,
    CLASH_DISTANCE,
    Limits,
    deviation,
    near_pairs,
    stiff_angles,
)
from molflow.analysis.molecule.ring_shape import flatness, threaded
from molflow.analysis.molecule.stereo import handedness
from molflow.analysis.weighting import effective_size, share

#: Tests in the order of the table: key of the count and what it says in words.
TESTS = {
    "bonds": ("broken_bond", "with a broken bond"),
    "clashes": ("clash", "with a clash"),
    "stereo": ("wrong_hand", "of the wrong hand"),
    "angles": ("bad_angle", "with a bond angle out of range"),
    "planarity": ("not_planar", "with a bent or turned peptide bond or planar centre"),
    "rings": ("bad_ring", "with a ring out of shape"),
    "threading": ("threaded_ring", "with a bond through a ring"),
}
#: The tests of the published share of valid samples; the others make it strict.
PUBLISHED = ("bonds", "clashes", "stereo")
#: How many findings are kept with their place and value; all are counted.
_KEPT = 100_000
_BOND_RANGE = np.array([-BOND_TOLERANCE, BOND_TOLERANCE])


@dataclass(frozen=True)
class Finding:
    """Why a sample failed: its number, the test, and the worst place with value and limits."""

    sample: int
    test: str
    where: str
    value: float
    low: float
    high: float
    unit: str


@dataclass(frozen=True)
class Validity:
    """Masks over the samples, each (n,) bool, True where the sample passes.

    `passed` has one mask per test that the atoms at hand allow: no ``stereo`` without a
    stereocentre, no ``rings`` without a ring. A sample that is not finite fails every test.
    `findings` says why samples failed, in the order of the samples.
    """

    finite: np.ndarray
    passed: dict[str, np.ndarray]
    findings: list[Finding]

    @property
    def valid(self) -> np.ndarray:
        """Samples that pass the published tests (bonds, clashes, hand), (n,) bool."""
        return self._all(PUBLISHED)

    @property
    def strictly_valid(self) -> np.ndarray:
        """Samples that pass every test, (n,) bool."""
        return self._all(TESTS)

    def _all(self, names) -> np.ndarray:
        masks = [self.passed[name] for name in names if name in self.passed]
        return np.logical_and.reduce([self.finite, *masks])

    def counts(self, weights: np.ndarray | None = None) -> dict:
        """Return how many samples there are, are valid, and fail each test (finite ones).

        None for a test that these atoms do not allow. With weights (n,) also ``effective``, what
        the samples are worth, and ``shares``, those of the weight.
        """
        counted: dict[str, Any] = {
            "samples": len(self.finite),
            "valid": int(self.valid.sum()),
            "strictly_valid": int(self.strictly_valid.sum()),
            "not_finite": int((~self.finite).sum()),
        }
        for test, (key, _) in TESTS.items():
            mask = self.passed.get(test)
            counted[key] = None if mask is None else int((self.finite & ~mask).sum())
        if weights is None:
            return counted
        marks = {"valid": self.valid, "strictly_valid": self.strictly_valid}
        marks["not_finite"] = ~self.finite
        marks |= {
            TESTS[test][0]: self.finite & ~mask for test, mask in self.passed.items()
        }
        shares = {key: min(1.0, share(mark, weights)) for key, mark in marks.items()}
        return counted | {"effective": effective_size(len(weights), weights), "shares": shares}

    @staticmethod
    def joined(parts: list[Validity]) -> Validity:
        """Return consecutive parts as one, with samples numbered through."""
        findings: list[Finding] = []
        start = 0
        for part in parts:
            for f in part.findings[: max(0, _KEPT - len(findings))]:
                findings.append(replace(f, sample=f.sample + start))
            start += len(part.finite)
        names = parts[0].passed
        return Validity(
            np.concatenate([part.finite for part in parts]),
            {name: np.concatenate([part.passed[name] for part in parts]) for name in names},
            findings,
        )


def check_validity(
    positions: np.ndarray, limits: Limits, tests: Collection[str] = tuple(TESTS)
) -> Validity:
    """Test every sample.

    Parameters
    ----------
    positions : ndarray, (n, n_atoms, 3)
        nm; may hold NaN.
    limits : Limits
        Of these atoms.
    tests : collection of str
        Some of `TESTS`: of rings and what goes through them each costs as much as all the others.
    """
    finite = np.isfinite(positions).all(axis=(1, 2))
    judge = _Judge(finite)
    sound = positions[finite]
    _check_bonded(sound, limits, judge, tests)
    _check_pairs(sound, limits, judge)
    if limits.centres:
        hands = handedness(sound, limits.centres) * limits.right
        ranges = np.tile([0.5, 1.5], (len(limits.centres), 1))
        names = [limits.labels[centre] for centre, *_ in limits.centres]
        judge.columns("stereo", hands, ranges, names, "sign")
    if {"rings", "threading"} & set(tests):
        _check_rings(sound, limits, judge)
    order = {test: i for i, test in enumerate(TESTS)}
    judge.findings.sort(key=lambda f: (f.sample, order[f.test]))
    return Validity(finite, judge.passed, judge.findings)


class _Judge:
    """Collects masks and findings of the finite samples."""

    def __init__(self, finite: np.ndarray):
        self.finite, self.kept = finite, np.flatnonzero(finite)
        self.passed: dict[str, np.ndarray] = {}
        self.findings: list[Finding] = []

    def columns(self, test: str, values, ranges, names: list[str], unit: str) -> None:
        """Judge values (n, k) by the range (k, 2) of each column; the worst one is the finding."""
        outside = np.maximum(ranges[:, 0] - values, values - ranges[:, 1])
        rows, worst = np.arange(len(values)), outside.argmax(axis=1)
        self.each(test, outside[rows, worst] > 0, values[rows, worst], ranges[worst],
                  lambda row: names[worst[row]], unit)  # fmt: skip

    def each(self, test: str, bad, values, ranges, name, unit: str) -> None:
        """Note which finite samples are bad (n,), with one value (n,) and range (n, 2) each."""
        self.passed.setdefault(test, self.finite.copy())[self.kept] &= ~bad
        for row in np.flatnonzero(bad)[:_KEPT]:
            low, high = map(float, ranges[row])
            self.findings.append(
                Finding(int(self.kept[row]), test, name(row), float(values[row]), low, high, unit)
            )


def _check_bonded(sound: np.ndarray, limits: Limits, judge: _Judge, tests) -> None:
    for test, term_list, ranges, unit in (
        ("bonds", limits.bonds, limits.bond_mean[:, None] + _BOND_RANGE, "nm"),
        ("angles", limits.angles, limits.angle_range, "rad"),
        ("planarity", limits.impropers, limits.improper_range, "rad"),
    ):
        if term_list and test in tests:
            names = [term.name for term in term_list]
            judge.columns(test, measure(sound, term_list), ranges, names, unit)
    if limits.stiff and "planarity" in tests:
        angles = stiff_angles(sound, limits.stiff)
        off = deviation(angles, limits.stiff_mean, limits.stiff_period)
        names = [" – ".join(limits.labels[a] for a in atoms) for atoms in limits.stiff]
        judge.columns("planarity", off, limits.stiff_range, names, "rad")


def _check_pairs(sound: np.ndarray, limits: Limits, judge: _Judge) -> None:
    n_atoms = len(limits.labels)
    if len(limits.bonded) == n_atoms * (n_atoms - 1) // 2:
        return
    # Only the worst pair of each sample is kept.
    margin, item = np.full(len(sound), np.inf), np.zeros(len(sound), int)
    low = np.full(len(sound), CLASH_DISTANCE)
    for sample, pair, apart in near_pairs(sound, CLASH_DISTANCE, limits.bonded):
        least = np.full(len(pair), CLASH_DISTANCE)
        if len(limits.close):
            place = np.searchsorted(limits.close, pair).clip(max=len(limits.close) - 1)
            known = limits.close[place] == pair
            least[known] = limits.close_distance[place[known]]
        # The worst of a sample comes last and stays.
        order = np.argsort(least - apart, kind="stable")
        sample, pair, least, apart = (part[order] for part in (sample, pair, least, apart))
        margin[sample], item[sample], low[sample] = apart - least, pair, least
    ranges = np.stack([low, np.full(len(low), np.inf)], axis=1)

    def name(row: int) -> str:
        return " – ".join(limits.labels[a] for a in divmod(item[row], n_atoms))

    judge.each("clashes", margin < 0, margin + low, ranges, name, "nm")


def _check_rings(sound: np.ndarray, limits: Limits, judge: _Judge) -> None:
    if not limits.rings:
        return
    names = [" – ".join(limits.labels[a] for a in ring) for ring in limits.rings]
    values = np.stack([flatness(sound, ring) for ring in limits.rings], axis=1)
    judge.columns("rings", values, limits.ring_range, names, "nm")
    crossings = np.zeros(len(sound))
    place = np.full(len(sound), "", dtype=object)
    for ring, name in zip(limits.rings, names, strict=True):
        for bond in limits.bonds:
            if not set(bond.atoms) & set(ring):
                hit = threaded(sound, ring, bond.atoms)
                crossings += hit
                place[hit] = f"{bond.name} through {name}"
    ranges = np.zeros((len(sound), 2))
    judge.each("threading", crossings > 0, crossings, ranges, lambda row: place[row], "bonds")
