"""Do samples stay as they are under short molecular dynamics, or do they relax?"""

from __future__ import annotations

import mdtraj
import numpy as np

from molflow.analysis.energy_metrics import reduced_energies
from molflow.analysis.observables import BASIN_NAMES, basin_marks
from molflow.analysis.torsion_list import backbone_pairs, measure_torsions, torsion_list
from molflow.analysis.torsion_wells import well_edges, well_middles, well_of
from molflow.checking.finding import (
    FAIL,
    FEWEST,
    INCONCLUSIVE,
    PASS,
    Finding,
    bootstrap_interval,
    judge,
    share_interval,
    worst,
)
from molflow.checking.subject import Subject

#: Largest shift of the median potential energy, in standard deviations of U.
ENERGY_LIMIT = 0.1
#: Largest change of the share of a basin.
BASIN_LIMIT = 0.05
#: Largest share of walkers that blow up.
BLOWN_LIMIT = 0.01
#: Frames and their interval (ps); the second half of them is compared with the start.
FRAMES, FRAME_INTERVAL = 20, 0.2
_SHARE = 8
#: Factor from the distance between the quartiles to the standard deviation of a Gaussian.
_QUARTILES_TO_SD = 1 / 1.349


def stationarity(subject: Subject) -> list[Finding]:
    """Start Langevin dynamics from an eighth of the samples and compare before with after.

    Walkers are independent, so the intervals are those of independent members however strongly
    the frames of one walker depend on each other. An ensemble at equilibrium passes whatever
    the dynamics; one that passes may still be wrong about what 4 ps do not change, such as the
    shares of basins behind high barriers.
    """
    whats = ("stationary_energy", "Stationary energy"), ("stationary_basins", "Stationary basins")
    limits = ENERGY_LIMIT, BASIN_LIMIT
    if subject.force_field is None:
        return [
            Finding(
                *what, INCONCLUSIVE,
                f"No dynamics can be run from the samples. {subject.no_force_field}", None, limit,
            )
            for what, limit in zip(whats, limits, strict=True)
        ]  # fmt: skip
    from molflow.md.relaxation import relax

    finite = np.flatnonzero(np.isfinite(subject.energies))[: subject.part(_SHARE)]
    if len(finite) < FEWEST:
        return [
            Finding(
                *what, INCONCLUSIVE,
                f"{len(finite)} walkers are too few to see a change: give more samples.",
                None, limit,
            )
            for what, limit in zip(whats, limits, strict=True)
        ]  # fmt: skip
    energies, positions = relax(
        subject.force_field, subject.positions[finite], FRAMES, FRAME_INTERVAL,
        subject.seed_of("dynamics"), subject.jobs,
    )  # fmt: skip
    reduced = reduced_energies(energies, subject.force_field.temperature)
    own = reduced_energies(subject.energies, subject.force_field.temperature)
    return [
        _energy(whats[0], own, reduced, subject.seed_of("bootstrap")),
        _basins(whats[1], positions, subject.checkpoint.topology()),
    ]


def _energy(what: tuple[str, str], own: np.ndarray, reduced: np.ndarray, seed: int) -> Finding:
    """Judge the shift of the median from all samples `own` to the later frames of the walkers."""
    blown = int(np.isnan(reduced[:, -1]).sum())
    walkers = reduced[~np.isnan(reduced[:, -1])]
    late = walkers[:, FRAMES // 2 :]
    details = {
        "walkers": len(reduced), "blown_up": blown,
        "times_ps": (FRAME_INTERVAL * np.arange(FRAMES + 1)).tolist(),
        "median_kt": np.median(walkers, axis=0).tolist() if len(walkers) else None,
    }  # fmt: skip
    exploding = judge(share_interval(blown, len(reduced)), BLOWN_LIMIT) == FAIL
    if exploding or len(walkers) < FEWEST:
        return Finding(
            *what, FAIL,
            f"{blown:,} of {len(reduced):,} walkers blew up within {FRAMES * FRAME_INTERVAL:g} ps.",
            None, ENERGY_LIMIT, None, "sd of U", details,
        )  # fmt: skip
    width = _QUARTILES_TO_SD * float(np.diff(np.quantile(late, [0.25, 0.75]))[0])
    shift = float(np.median(own) - np.median(late))
    rng = np.random.default_rng(seed)

    def again(members: np.ndarray) -> float:
        # Both sides are drawn anew; half of the walkers' starts are in `own`, which only helps.
        start = own[rng.integers(len(own), size=len(own))]
        return float(np.median(start) - np.median(late[members]))

    low, high = bootstrap_interval(again, len(late), seed)
    verdict, value, interval = _absolute(shift / width, low / width, high / width, ENERGY_LIMIT)
    later = f"the median energy {'falls' if shift > 0 else 'rises'} by {abs(shift):.2f} kT"
    sentence = {
        PASS: f"Within {FRAMES * FRAME_INTERVAL:g} ps of dynamics {later}, {value:.2f} of its "
        "spread: the samples were at equilibrium.",
        FAIL: f"Within {FRAMES * FRAME_INTERVAL:g} ps of dynamics {later}, {value:.2f} of its "
        "spread: the samples were not at equilibrium.",
        INCONCLUSIVE: f"Within {FRAMES * FRAME_INTERVAL:g} ps of dynamics {later}, which "
        f"{len(reduced):,} walkers cannot tell from none or from too much.",
    }[verdict]
    details |= {"shift_kt": shift, "spread_kt": width}
    return Finding(*what, verdict, sentence, value, ENERGY_LIMIT, interval, "sd of U", details)


def _basins(
    what: tuple[str, str], positions: np.ndarray, topology: mdtraj.Topology
) -> Finding:
    """Judge the change of every basin's share from the start to the later frames."""
    sound = positions[np.isfinite(positions).all(axis=(1, 2, 3))]
    if len(sound) < FEWEST:
        return Finding(
            *what, INCONCLUSIVE,
            f"{len(sound)} walkers survived, too few to see a change of basins.",
            None, BASIN_LIMIT,
        )  # fmt: skip
    n, frames = sound.shape[:2]
    marks = _named_basins(sound.reshape(n * frames, *sound.shape[2:]), topology)
    if not marks:
        return Finding(
            *what, INCONCLUSIVE,
            "The molecule has no torsion with two wells, so there are no basins to leave.",
            None, BASIN_LIMIT,
        )  # fmt: skip
    inside = np.stack(list(marks.values()), axis=-1).reshape(n, frames, -1)
    start, later = inside[:, 0].astype(float), inside[:, FRAMES // 2 :].mean(axis=1)
    change = later - start
    mean, error = change.mean(axis=0), change.std(axis=0, ddof=1) / np.sqrt(n)
    # With no walker that moved the spread says nothing: three in n could have, at 95 %.
    error = np.maximum(error, 1.5 / n)
    judged = [
        _absolute(m, m - 1.96 * e, m + 1.96 * e, BASIN_LIMIT)
        for m, e in zip(mean, error, strict=True)
    ]
    verdict = worst([entry[0] for entry in judged])
    largest = int(np.argmax(np.abs(mean)))
    name = list(marks)[largest]
    sentence = (
        f"The share of {BASIN_NAMES.get(name, name)} changes from {start[:, largest].mean():.1%} "
        f"to {later[:, largest].mean():.1%} within {FRAMES * FRAME_INTERVAL:g} ps, the largest "
        "change of a basin"
    ) + {
        PASS: ".",
        FAIL: ": the samples were not at equilibrium.",
        INCONCLUSIVE: f"; {n:,} walkers cannot tell it from none or from too much.",
    }[verdict]
    return Finding(
        *what, verdict, sentence, judged[largest][1], BASIN_LIMIT, judged[largest][2], "share",
        {
            "walkers": n,
            "start": dict(zip(marks, start.mean(axis=0).tolist(), strict=True)),
            "later": dict(zip(marks, later.mean(axis=0).tolist(), strict=True)),
        },
    )  # fmt: skip


def _named_basins(positions: np.ndarray, topology: mdtraj.Topology) -> dict[str, np.ndarray]:
    """Return which conformations are in each basin, bool (n,) by its name.

    The basins of every residue with phi and psi (``beta``, or ``beta of ALA2`` where there are
    several such residues), and the wells of all other torsions.
    """
    found = torsion_list(topology)
    torsions, pairs = measure_torsions(positions, found), backbone_pairs(found)
    marks: dict[str, np.ndarray] = {}
    for pair in pairs:
        of = f" of {topology.residue(found[pair[0]].residue)}" if len(pairs) > 1 else ""
        basins = basin_marks(torsions[:, list(pair)])
        marks |= {f"{BASIN_NAMES[name] if of else name}{of}": m for name, m in basins.items()}
    backbone = {column for pair in pairs for column in pair}
    for column in (k for k in range(len(found)) if k not in backbone):
        edges = well_edges(torsions[:, column])
        wells = well_of(torsions[:, column], edges)
        for well, middle in enumerate(well_middles(edges) if len(edges) > 1 else ()):
            marks[f"{found[column].name} at {middle:.0f}°"] = wells == well
    return marks


def _absolute(value: float, low: float, high: float, limit: float):
    """Return verdict, size and interval of the size of a number that may have either sign."""
    ends = abs(low), abs(high)
    interval = (0.0 if low < 0 < high else min(ends), max(ends))
    return judge(interval, limit), abs(value), interval
