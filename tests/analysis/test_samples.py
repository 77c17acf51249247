"""Ensembles measured chunk by chunk."""

import csv
import tracemalloc

import mdtraj
import numpy as np
import pytest
from synthetic import TOPOLOGY, conformations, measured, reference, torsion_samples, trajectory

from molflow.analysis import samples as module
from molflow.analysis.features import features_of
from molflow.analysis.files.ensemble import read_ensemble
from molflow.analysis.molecule.geometry import measure
from molflow.analysis.reporting.offenders import check_offenders_path, write_offenders
from molflow.analysis.samples import measure_samples
from molflow.comparison import compare
from molflow.errors import MolflowError


@pytest.fixture(scope="module")
def truth():
    return reference(frames=600)


@pytest.fixture(scope="module")
def features(truth):
    return features_of(truth.held_out(), np.arange(22))


def test_chunks_give_what_the_whole_gives(features):
    xyz = trajectory(101, seed=3).xyz.copy()
    xyz[[5, 70]] *= np.array([-1, 1, 1], np.float32)
    xyz[33] = np.nan
    doubled = lambda part: 2.0 * part[:, 0, 0].astype(float)  # noqa: E731
    whole = measure_samples([xyz], 101, features, doubled)
    parts = measure_samples(np.array_split(xyz, 7), 101, features, doubled)
    for name in ("torsions", "energies", "terms", "term_sample", "fingerprints", "offenders"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name), equal_nan=True), name
    assert whole.validity.counts() == parts.validity.counts()
    assert parts.offender_sample.tolist() == [5, 70]
    assert np.isnan(parts.energies[33]) and parts.energies[34] == 2.0 * float(xyz[34, 0, 0])
    assert 33 not in parts.term_sample


def test_geometry_is_thinned_evenly_and_the_rest_is_not(features, monkeypatch):
    monkeypatch.setattr(module, "GEOMETRY_SAMPLES", 21)
    xyz = trajectory(101, seed=3).xyz
    found = measure_samples(np.array_split(xyz, 5), 101, features)
    assert found.term_sample.tolist() == list(range(0, 101, 5))
    assert found.terms == pytest.approx(measure(xyz[::5], features.terms), abs=1e-6)
    assert len(found.torsions) == len(found.validity.finite) == 101


def test_memory_does_not_grow_with_the_trajectory(tmp_path, features, monkeypatch):
    monkeypatch.setattr(module, "GEOMETRY_SAMPLES", 200)
    one = conformations(torsion_samples(500, 0.05, 1), 0.003, 1)
    mdtraj.Trajectory(one[:1], TOPOLOGY).save_pdb(str(tmp_path / "topology.pdb"))
    peaks = []
    for copies in (8, 40):
        path = tmp_path / f"{copies}.dcd"
        with mdtraj.formats.DCDTrajectoryFile(str(path), "w") as file:
            for _ in range(copies):
                file.write(10 * one)
        given = read_ensemble(path, None)
        assert given.n == 500 * copies
        tracemalloc.start()
        positions = (part.xyz for part in given.chunks(500))
        found = measure_samples(positions, given.n, features)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        kept = sum(x.nbytes for x in (found.torsions, found.fingerprints))
    # 16,000 more conformations are 4.2 MB of positions; what stays of them is much less.
    assert peaks[1] - peaks[0] < 3 * kept < 0.5 * 12 * 22 * 16_000


def test_a_streamed_file_is_judged_as_the_trajectory_in_memory(tmp_path, truth, monkeypatch):
    truth.save(tmp_path / "ref")
    made = trajectory(300, seed=5)
    made.save_dcd(str(tmp_path / "a.dcd"))
    made[:1].save_pdb(str(tmp_path / "topology.pdb"))
    held = mdtraj.load(str(tmp_path / "a.dcd"), top=str(tmp_path / "topology.pdb"))
    whole = compare(held, tmp_path / "ref", exact_transport=False)
    monkeypatch.setattr(module, "CHUNK_BYTES", 12 * 22 * 37)
    parts = compare(tmp_path / "a.dcd", tmp_path / "ref", exact_transport=False)
    assert parts["metrics"] == whole["metrics"] and parts["validity"] == whole["validity"]


def test_offenders_are_written_with_reasons(tmp_path, truth):
    made = trajectory(40, seed=8)
    made.xyz[3] *= np.array([-1, 1, 1], np.float32)
    made.xyz[9, 0] += np.float32(0.2)
    made.xyz[20] = np.nan
    truth.save(tmp_path / "ref")
    out = tmp_path / "bad" / "bad.dcd"
    compare(made, tmp_path / "ref", offenders=out, exact_transport=False)
    rows = list(csv.DictReader(open(out.with_suffix(".csv"), encoding="utf-8")))
    assert rows[0]["sample"] == "20" and rows[0]["test"] == "finite"
    mirrored = next(row for row in rows if row["test"] == "stereo")
    assert (mirrored["sample"], mirrored["frame"], mirrored["where"]) == ("3", "0", "2:CA")
    broken = next(row for row in rows if row["test"] == "bonds")
    assert broken["sample"] == "9" and "1:H1" in broken["where"]
    assert float(broken["value"]) > float(broken["highest"]) and broken["unit"] == "nm"
    frames = mdtraj.load(str(out), top=str(out.with_suffix(".pdb")))
    assert frames.xyz == pytest.approx(made.xyz[[3, 9]], abs=1e-5)
    with pytest.raises(MolflowError, match="ends in"):
        check_offenders_path(tmp_path / "bad.txt")


def test_no_offenders_leave_a_table_without_rows(tmp_path, truth):
    write_offenders(tmp_path / "bad.pdb", measured(truth, trajectory(20, seed=8).xyz))
    assert not (tmp_path / "bad.pdb").exists()
    assert len((tmp_path / "bad.csv").read_text().splitlines()) == 1
