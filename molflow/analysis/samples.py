"""Measuring an ensemble chunk by chunk, so that trajectories larger than memory can be judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from molflow.analysis.features import Features
from molflow.analysis.molecule.geometry import measure
from molflow.analysis.molecule.validity import Validity, check_validity
from molflow.analysis.statistics import evenly_spaced
from molflow.analysis.torsion_list import measure_torsions
from molflow.analysis.weighting import part_of

#: Bonds, angles and impropers are compared on at most this many samples, evenly spaced; torsions,
#: energies and validity on all.
GEOMETRY_SAMPLES = 20_000
#: Bytes of positions that are held at once.
CHUNK_BYTES = 2_000_000
#: Samples that failed a test of which the positions are kept.
OFFENDERS = 1_000


@dataclass(frozen=True)
class Samples:
    """What was measured of an ensemble of n conformations.

    Attributes
    ----------
    features : Features
    torsions : ndarray, (n, torsions), float32
        rad; NaN where positions are not finite.
    energies : ndarray, (n,), or None
        kJ/mol; None if unknown, as for coarse ensembles.
    terms : ndarray, (m, terms), float32
        Bonds (nm), angles and impropers (rad) of evenly spaced finite samples.
    term_sample : ndarray, (m,) int
        Which samples those are.
    validity : Validity
        Of all samples.
    fingerprints : ndarray, (n,) int64
        Equal for samples whose positions are bitwise equal.
    offenders : ndarray, (k, n_atoms, 3), float32
        Positions of the first samples that failed a test, nm.
    offender_sample : ndarray, (k,) int
        Which samples those are.
    weights : ndarray, (n,), or None
        Sum of 1; None for equal weights.
    """

    features: Features
    torsions: np.ndarray
    energies: np.ndarray | None
    terms: np.ndarray
    term_sample: np.ndarray
    validity: Validity
    fingerprints: np.ndarray
    offenders: np.ndarray
    offender_sample: np.ndarray
    weights: np.ndarray | None = None

    @property
    def term_weights(self) -> np.ndarray | None:
        """Weights (m,) of the samples that `terms` are of."""
        return part_of(self.weights, self.term_sample)

    def __len__(self) -> int:
        return len(self.torsions)

    def part(self, mask: np.ndarray) -> Samples:
        """Return the samples in a mask (n,), without validity and offenders, which stay."""
        new = np.cumsum(mask) - 1
        thin = mask[self.term_sample]
        return replace(
            self,
            torsions=self.torsions[mask],
            fingerprints=self.fingerprints[mask],
            energies=None if self.energies is None else self.energies[mask],
            terms=self.terms[thin],
            term_sample=new[self.term_sample[thin]],
            weights=part_of(self.weights, mask),
        )


def chunk_size(n_atoms: int) -> int:
    """Return how many conformations of so many atoms are held at once."""
    return max(1, CHUNK_BYTES // (12 * n_atoms))


def measure_samples(
    chunks: Iterable[np.ndarray],
    n: int,
    features: Features,
    energies: np.ndarray | Callable[[np.ndarray], np.ndarray] | None = None,
    weights: np.ndarray | None = None,
) -> Samples:
    """Measure an ensemble.

    Parameters
    ----------
    chunks : iterable of ndarray, (k, n_atoms, 3)
        Consecutive positions, nm, `n` in all. Only one chunk is held at a time; what stays of a
        conformation are its torsions, energy and marks, some dozens of bytes.
    n : int
    features : Features
    energies : ndarray, (n,), or callable, optional
        Known energies in kJ/mol, or a function of finite positions (k, n_atoms, 3).
    weights : ndarray, (n,), optional
        Sum of 1; equal by default.
    """
    wanted = evenly_spaced(n, GEOMETRY_SAMPLES)
    torsions, found, term_rows, term_sample, parts, marks = [], [], [], [], [], []
    offenders, offender_sample, start, kept = [], [], 0, 0
    for positions in chunks:
        positions = np.asarray(positions)
        part = check_validity(positions, features.limits)
        torsions.append(measure_torsions(positions, features.torsions))
        here = wanted[(wanted >= start) & (wanted < start + len(positions))] - start
        here = here[part.finite[here]]
        term_rows.append(measure(positions[here], features.terms).astype(np.float32))
        term_sample.append(here + start)
        marks.append(fingerprints_of(positions))
        if callable(energies):
            values = np.full(len(positions), np.nan)
            if part.finite.any():
                values[part.finite] = energies(positions[part.finite])
            found.append(values)
        bad = np.flatnonzero(part.finite & ~part.strictly_valid)[: OFFENDERS - kept]
        offenders.append(positions[bad].astype(np.float32))
        offender_sample.append(bad + start)
        kept += len(bad)
        parts.append(part)
        start += len(positions)
    known = np.concatenate(found) if found else (None if callable(energies) else energies)
    return Samples(
        features=features,
        torsions=np.concatenate(torsions),
        energies=known,
        terms=np.concatenate(term_rows),
        term_sample=np.concatenate(term_sample),
        validity=Validity.joined(parts),
        fingerprints=np.concatenate(marks),
        offenders=np.concatenate(offenders),
        offender_sample=np.concatenate(offender_sample),
        weights=weights,
    )


def fingerprints_of(positions: np.ndarray) -> np.ndarray:
    """Return a number for each of the positions (n, atoms, 3), equal if they are bit by bit."""
    rows = np.ascontiguousarray(positions, np.float32).reshape(len(positions), -1)
    return np.fromiter((hash(row.tobytes()) for row in rows), np.int64, len(rows))
