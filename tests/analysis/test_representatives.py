import json
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
from molecules import chain
from synthetic import TOPOLOGY, conformations, measured, reference, torsion_samples, trajectory

from molflow.analysis.molecule.geometry import terms
from molflow.analysis.reference import Reference
from molflow.analysis.reporting.representatives import posed, positions_of, representatives


@pytest.fixture(scope="module")
def truth():
    return reference(3000)


def test_basins_are_named_with_shares_of_both_sides(truth):
    torsions = torsion_samples(1000, 0.1, 3)
    xyz = conformations(torsions, 0.003, 4).astype(np.float32)
    samples = measured(truth, xyz)
    found = representatives(samples, truth, lambda rows: xyz[rows])
    assert json.loads(json.dumps(found)) == found
    assert (found["n_model"], found["n_reference"]) == (1000, 3000)
    # The wells of the synthetic ensemble, told apart by the sign of phi and the middle of psi.
    left = torsions[:, 0] > 0
    helix = ~left & (np.abs(torsions[:, 1]) < 1.0)
    shares = {"β": np.mean(~left & ~helix), "αR": np.mean(helix), "αL": np.mean(left)}
    assert [cluster["name"] for cluster in found["clusters"]] == ["β", "αR", "αL"]
    for cluster in found["clusters"]:
        assert cluster["model"]["share"] == pytest.approx(shares[cluster["name"]], abs=0.005)
        angles = np.radians([cluster["torsions"]["phi"], cluster["torsions"]["psi"]])
        away = np.angle(np.exp(1j * (angles - torsions[cluster["sample"]])))
        assert np.all(np.abs(away) < 0.2)  # of that very sample; noise moves atoms by 0.003 nm
    positions = positions_of(found, samples, truth, lambda rows: xyz[rows])
    for cluster, shown in zip(found["clusters"], positions, strict=True):
        assert mdtraj.rmsd(
            mdtraj.Trajectory(shown, TOPOLOGY),
            mdtraj.Trajectory(xyz[cluster["sample"]], TOPOLOGY),
        )[0] < 3e-4  # fmt: skip


def test_samples_that_are_not_finite_are_counted_past(truth):
    xyz = trajectory(400, seed=5).xyz.copy()
    broken = np.concatenate([np.full((7, 22, 3), np.nan, np.float32), xyz])
    found, shifted = (
        representatives(measured(truth, own), truth, lambda rows, own=own: own[rows])
        for own in (xyz, broken)
    )
    numbers = [[cluster["sample"] for cluster in one["clusters"]] for one in (found, shifted)]
    assert [number + 7 for number in numbers[0]] == numbers[1]


def test_a_basin_that_the_model_lacks_is_shown_by_the_reference(truth):
    xyz = trajectory(600, alpha_l=0.0, seed=6).xyz
    samples = measured(truth, xyz)
    found = representatives(samples, truth, lambda rows: xyz[rows])
    missing = found["clusters"][-1]
    assert missing["name"] == "αL" and missing["of"] == "reference"
    assert missing["model"]["share"] == 0
    shown = positions_of(found, samples, truth, lambda rows: xyz[rows])[-1]
    stored = truth.positions[missing["sample"]]
    pair = mdtraj.Trajectory(np.stack([shown, stored]), TOPOLOGY)
    assert mdtraj.rmsd(pair, pair, 0)[1] < 1e-4
    phi = truth.torsions[truth.position_frame[missing["sample"]], 0]
    assert np.degrees(phi) == pytest.approx(missing["torsions"]["phi"]) and 0 < phi < 2


def test_poses_keep_shape_and_hand():
    xyz = trajectory(6, seed=7).xyz
    shown = posed(xyz, TOPOLOGY)
    hands = [[np.linalg.det(one[[8, 10, 14]] - one[6]) for one in group] for group in (xyz, shown)]
    assert np.allclose(*hands, atol=1e-7)
    assert np.all(np.abs(hands[0]) > 1e-4)
    mirrored = posed(xyz * [-1, 1, 1], TOPOLOGY)
    assert np.allclose([np.linalg.det(one[[8, 10, 14]] - one[6]) for one in mirrored],
                       np.negative(hands[0]), atol=1e-7)  # fmt: skip
    heavy = TOPOLOGY.select("element != H")
    spread = shown[0, heavy].std(axis=0)
    assert spread[0] > spread[1] > spread[2]
    best = mdtraj.rmsd(*[mdtraj.Trajectory(xyz, TOPOLOGY)] * 2, 0, atom_indices=heavy)
    now = np.sqrt(np.mean(np.sum((shown - shown[0])[:, heavy] ** 2, axis=2), axis=1))
    assert np.allclose(now, best, atol=1e-4)  # mdtraj computes in float32


def test_a_molecule_without_torsions_is_clustered_by_its_shape():
    ring = chain("CCCCCC", bonds=[(i, (i + 1) % 6) for i in range(6)])
    around = np.arange(6) * np.pi / 3
    flat = np.stack([np.cos(around), np.sin(around)], axis=1) * 0.3
    chair, boat = [0.1, -0.1, 0.1, -0.1, 0.1, -0.1], [0.2, -0.1, -0.1, 0.2, -0.1, -0.1]
    shapes = np.stack([np.column_stack([flat, z]) for z in (chair, boat)])
    rng = np.random.default_rng(8)

    def draw(sizes):
        which = rng.permutation(np.repeat([0, 1], sizes))
        return which, (shapes[which] + rng.normal(0, 0.01, (sum(sizes), 6, 3))).astype(np.float32)

    _, stored = draw([160, 40])
    truth = replace(
        reference(600), topology=ring, positions=stored, torsions=np.zeros((200, 0), np.float32),
        torsion_names=(), energies=None, replica=np.repeat([0, 1], 100).astype(np.int16),
        position_frame=np.arange(200, dtype=np.int32), held_out_runs=(),
    )  # fmt: skip
    assert isinstance(truth, Reference) and len(terms(ring))
    which, xyz = draw([150, 150])
    found = representatives(measured(truth, xyz), truth, lambda rows: xyz[rows])
    assert sorted(cluster["reference"]["share"] for cluster in found["clusters"]) == [0.2, 0.8]
    assert [cluster["model"]["share"] for cluster in found["clusters"]] == [0.5, 0.5]
    names = {which[cluster["sample"]] for cluster in found["clusters"]}
    assert names == {0, 1} and found["clusters"][0]["name"] is None
