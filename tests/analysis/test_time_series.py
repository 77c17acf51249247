from dataclasses import replace

import numpy as np
import pytest

from molflow.analysis.kinetics.time_series import (
    TorsionSeries,
    draw_weights,
    pieces,
    time_ordered,
    torsion_features,
)
from molflow.comparison import find_reference
from molflow.errors import MolflowError


def test_tempering_has_no_kinetics():
    with pytest.raises(MolflowError, match="tempering over 4 temperatures.*no kinetics"):
        time_ordered(find_reference("alanine_dipeptide"))


def test_what_is_not_recorded_is_not_trusted():
    reference = replace(find_reference("alanine_dipeptide"), provenance={})
    with pytest.raises(MolflowError, match="is not recorded"):
        time_ordered(reference)


def test_plain_dynamics_is_taken_run_by_run():
    reference = find_reference("alanine_dipeptide")
    plain = replace(reference, provenance={"simulation": {"plan": {"temperatures": [300.0]}}})
    series = time_ordered(plain)
    assert series.interval == 1.0 and series.frames == len(reference.torsions)
    assert np.array_equal(series.runs[3], reference.torsions[reference.replica == 3])
    assert series.length == 60_000.0 and series.ensemble_hash == reference.ensemble_hash


def test_lag_times_are_whole_numbers_of_frames():
    series = TorsionSeries((np.zeros((50, 2)), np.zeros((20, 2))), 0.5)
    assert series.lag(10.0) == 20
    for lag, sentence in ((0.7, "not a whole number of frames"), (25.0, "longer than the longest")):
        with pytest.raises(MolflowError, match=sentence):
            series.lag(lag)


def test_a_series_without_frames_is_refused():
    for runs, interval in (((), 1.0), ((np.zeros((1, 2)),), 1.0), ((np.zeros((5, 2)),), 0.0)):
        with pytest.raises(MolflowError, match="is not usable"):
            TorsionSeries(runs, interval)


def test_features_are_cosines_and_sines():
    features = torsion_features(np.array([[0.0, np.pi / 2]]))
    assert np.allclose(features, [[1, 0, 0, 1]])


def test_pieces_keep_every_frame_once_and_are_long_enough():
    runs = [np.arange(1000), np.arange(1000, 1300), np.arange(1300, 1320)]
    parts = pieces(runs, longest_lag=5)
    assert np.array_equal(np.concatenate(parts), np.arange(1320))
    assert min(map(len, parts[:-1])) >= 50 and len(parts[-1]) == 20
    assert len(parts) == 20 + 6 + 1
    assert len(pieces(runs, longest_lag=1000)) == 3


def test_bootstrap_draws_as_many_as_there_are():
    weights = draw_weights(7, 2000, seed=0)
    assert np.all(weights.sum(axis=1) == 7)
    assert np.allclose(weights.mean(axis=0), 1, atol=0.1)
    assert np.allclose(weights.var(axis=0), 6 / 7, atol=0.15)
