import numpy as np
import pytest
from deeptime.decomposition import TICA
from kinetic_processes import ornstein_uhlenbeck, walk_chain

from molflow.analysis.kinetics.slow_modes import fit_slow_modes, load_slow_modes
from molflow.analysis.kinetics.tica import fit_tica
from molflow.analysis.kinetics.time_series import TorsionSeries
from molflow.errors import MolflowError


def two_basins(leave=0.02, frames=3000, runs=10, seed=0):
    """psi jumps between two wells with known rates, phi fluctuates."""
    matrix = np.array([[1 - leave, leave], [leave, 1 - leave]])
    rng = np.random.default_rng(seed)
    made = []
    for labels in walk_chain(matrix, frames, runs, seed):
        psi = np.where(labels == 0, 2.5, -0.4) + 0.2 * rng.normal(size=frames)
        phi = -1.4 + 0.3 * rng.normal(size=frames)
        made.append(np.stack([phi, (psi + np.pi) % (2 * np.pi) - np.pi], axis=1))
    return TorsionSeries(tuple(made), interval=0.5, system="two basins", ensemble_hash="abc")


@pytest.fixture(scope="module")
def series():
    return two_basins()


@pytest.fixture(scope="module")
def modes(series):
    return fit_slow_modes(series, lag_ps=2.5, states=12)


def test_tica_finds_the_slow_direction_of_mixed_ornstein_uhlenbeck_processes():
    slow = ornstein_uhlenbeck(0.02, 5000, 20, seed=0)
    fast = ornstein_uhlenbeck(0.2, 5000, 20, seed=1)
    angle = 0.7
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    runs = [np.stack(pair, axis=1) * [1.0, 3.0] @ turn for pair in zip(slow, fast, strict=True)]
    mean, matrix, timescales = fit_tica(runs, 5, 2)
    assert timescales == pytest.approx([50.0, 5.0], rel=0.12)
    components = np.concatenate([(run - mean) @ matrix for run in runs])
    assert components.mean(axis=0) == pytest.approx([0, 0], abs=1e-10)
    assert np.cov(components.T, ddof=0) == pytest.approx(np.eye(2), abs=0.02)
    overlap = np.corrcoef(components[:, 0], np.concatenate(slow))[0, 1]
    assert abs(overlap) > 0.999
    largest = np.argmax(np.abs(matrix), axis=0)
    assert np.all(matrix[largest, [0, 1]] > 0)


def test_tica_is_deeptimes(series):
    runs = series.features()
    mean, matrix, timescales = fit_tica(runs, 5, 2)
    model = TICA(lagtime=5, dim=2, scaling=None).fit_from_timeseries(runs).fetch_model()
    theirs = model.transform(np.concatenate(runs))
    ours = (np.concatenate(runs) - mean) @ matrix
    for column in range(2):
        assert abs(np.corrcoef(ours[:, column], theirs[:, column])[0, 1]) == pytest.approx(1.0)
    assert timescales == pytest.approx(model.timescales(lagtime=5)[:2])


def test_slow_modes_of_two_basins(series, modes):
    exact = -0.5 / np.log(1 - 2 * 0.02)
    assert modes.timescales[0] == pytest.approx(exact, rel=0.1)
    values = np.sort(np.abs(np.linalg.eigvals(modes.transition_matrix)))[::-1]
    assert -2.5 / np.log(values[1]) == pytest.approx(exact, rel=0.1)
    assert modes.stationary @ modes.transition_matrix == pytest.approx(modes.stationary)
    assert modes.transition_matrix.sum(axis=1) == pytest.approx(np.ones(len(modes.states)))
    everything = np.concatenate(series.runs)
    slow = modes.project(everything)[:, 0]
    assert slow.std() == pytest.approx(1.0, abs=1e-6)
    upper = np.abs(everything[:, 1] - 2.5) < 1.4
    assert abs(np.corrcoef(slow, upper)[0, 1]) > 0.97


def test_labels_are_the_nearest_centres(series, modes):
    some = series.runs[0][:50]
    distances = np.linalg.norm(modes.project(some)[:, None] - modes.centres[None], axis=-1)
    assert np.array_equal(modes.label(some), distances.argmin(axis=1))


def test_stored_modes_are_the_same(series, modes, tmp_path):
    modes.save(tmp_path / "kinetics")
    again = load_slow_modes(tmp_path / "kinetics")
    some = series.runs[1][:20]
    assert np.array_equal(again.project(some), modes.project(some))
    assert np.array_equal(again.transition_matrix, modes.transition_matrix)
    assert (again.lag_ps, again.system, again.ensemble_hash) == (2.5, "two basins", "abc")
    assert (again.frames, again.runs) == (30_000, 10)


def test_the_fit_is_reproducible(series, modes):
    again = fit_slow_modes(series, lag_ps=2.5, states=12)
    assert np.array_equal(again.centres, modes.centres)


def test_impossible_requests_are_refused(series, modes, tmp_path):
    with pytest.raises(MolflowError, match="not a whole number of frames"):
        fit_slow_modes(series, lag_ps=0.7)
    with pytest.raises(MolflowError, match="states is 1 for 30000 frames"):
        fit_slow_modes(series, lag_ps=5.0, states=1)
    with pytest.raises(MolflowError, match="there are 3 torsions"):
        modes.project(np.zeros((4, 3)))
    with pytest.raises(MolflowError, match="cannot read"):
        load_slow_modes(tmp_path)
