import mdtraj
import numpy as np
import pytest
from synthetic import TOPOLOGY, trajectory

from molflow.analysis.reporting.clusters import (
    CARTESIAN_WIDTH,
    cartesian_coordinates,
    find_clusters,
    torsion_coordinates,
    torsion_width,
)
from molflow.analysis.statistics import share_of

WELLS = np.radians([[-80.0, 150.0], [-75.0, -20.0], [60.0, 45.0]])


def wells(sizes, seed, centres=WELLS, width=12.0):
    """Return shuffled torsions about known centres and which well each is of."""
    rng = np.random.default_rng(seed)
    which = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    noise = np.radians(rng.normal(0, width, (len(which), centres.shape[1])))
    return (centres[which] + noise + np.pi) % (2 * np.pi) - np.pi, which


def test_known_wells_are_found_with_their_shares_and_a_true_sample_in_the_middle():
    model, which = wells([1500, 460, 40], 0)
    truth, _ = wells([2400, 1560, 40], 1)
    found = find_clusters(torsion_coordinates(model), torsion_coordinates(truth), torsion_width(2))
    assert [c.model.value for c in found] == [0.75, 0.23, 0.02]
    assert [c.reference.value for c in found] == [0.6, 0.39, 0.01]
    for well, cluster in enumerate(found):
        assert cluster.side == "model" and which[cluster.member] == well
        away = np.angle(np.exp(1j * (model[cluster.member] - WELLS[well])))
        assert np.all(np.abs(np.degrees(away)) < 6)  # samples are 12 degrees off in both


def test_a_well_across_the_end_of_the_circle_is_one():
    model, _ = wells([500], 2, np.radians([[-90.0, 179.0]]), 20.0)
    coordinates = torsion_coordinates(model)
    (only,) = find_clusters(coordinates, coordinates[:300], torsion_width(2))
    assert only.model.value == only.reference.value == 1.0
    assert abs(abs(np.degrees(model[only.member, 1])) - 179) < 8


def test_what_the_model_lacks_is_shown_by_a_frame_of_the_reference():
    model, _ = wells([700, 300], 3)
    truth, which = wells([500, 400, 100], 4)
    found = find_clusters(torsion_coordinates(model), torsion_coordinates(truth), torsion_width(2))
    missing = found[-1]
    assert missing.model.value == 0 and missing.reference.value == 0.1
    assert missing.side == "reference" and which[missing.member] == 2
    assert 0 < missing.model.error < 0.002  # none of 1,000 is not none for certain
    # Where positions of few frames are stored, one of those is shown, or none at all.
    for stored in (np.flatnonzero(which == 2)[[3, 8]], np.flatnonzero(which == 0)):
        (missing,) = [
            c
            for c in find_clusters(
                torsion_coordinates(model), torsion_coordinates(truth), torsion_width(2),
                drawable=stored,
            )
            if c.side == "reference"
        ]  # fmt: skip
        assert missing.reference.value == 0.1
        assert missing.member in stored if which[stored[0]] == 2 else missing.member is None


def test_only_the_largest_are_told():
    centres = np.radians([[a, b] for a in (-120.0, 0.0, 120.0) for b in (-120.0, 0.0, 120.0)])
    model, _ = wells(range(100, 1000, 100), 5, centres, 5.0)
    coordinates = torsion_coordinates(model)
    found = find_clusters(coordinates, coordinates, torsion_width(2))
    assert [round(c.model.value * 4500) for c in found] == [900, 800, 700, 600, 500, 400]


def test_copies_of_one_conformation_are_one_cluster():
    (only,) = find_clusters(np.ones((5, 4)), np.ones((3, 4)), 1.0)
    assert only.model.value == 1.0 and only.member == 0


def test_the_error_is_that_of_repeated_experiments():
    rng = np.random.default_rng(6)
    shares = [share_of(rng.random(400) < 0.1) for _ in range(2000)]
    spread = np.std([share.value for share in shares])
    assert np.mean([share.error for share in shares]) == pytest.approx(spread, rel=0.1)
    # A two-state chain that stays with 0.95 has g = (1 + 0.9) / (1 - 0.9) = 19.
    runs = np.repeat(np.arange(20), 1000)
    errors, values = [], []
    for _ in range(40):
        chain = np.cumsum(rng.random(20_000) < 0.05) % 2 == 0
        share = share_of(chain, runs)
        errors.append(share.error)
        values.append(share.value)
    assert np.mean(errors) == pytest.approx(np.sqrt(0.25 * 19 / 20_000), rel=0.1)
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.35)


def test_without_torsions_positions_are_superposed_first():
    one, other = trajectory(40, seed=1).xyz[:2]
    rng = np.random.default_rng(7)
    which = rng.permutation(np.repeat([0, 1], [30, 10]))
    positions = np.stack([one, other])[which] + rng.normal(0, 0.003, (40, 22, 3))
    for k in range(40):  # turned and shifted at will
        q, r = np.linalg.qr(rng.normal(size=(3, 3)))
        q *= np.sign(np.diag(r))
        q[:, 0] *= np.linalg.det(q)
        positions[k] = positions[k] @ q + rng.normal(size=3)
    coordinates = cartesian_coordinates(positions, TOPOLOGY, one)
    pair = mdtraj.Trajectory(np.stack([one, other]), TOPOLOGY)
    heavy = TOPOLOGY.select("element != H")
    apart = mdtraj.rmsd(pair, pair, 0, atom_indices=heavy)[1]
    width = min(CARTESIAN_WIDTH, apart / 2)
    found = find_clusters(coordinates, coordinates, width)
    assert [c.model.value for c in found] == [0.75, 0.25]
    distances = np.linalg.norm(coordinates - coordinates[which.tolist().index(0)], axis=1)
    assert distances[which == 1].mean() == pytest.approx(apart, rel=0.1)
