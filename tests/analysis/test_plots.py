import numpy as np
from matplotlib.figure import Figure
from synthetic import torsion_samples

from molflow.analysis import plots
from molflow.analysis.reporting.report import number


def test_maps_share_one_scale_and_show_the_minimum_where_it_is():
    axes = plots.ramachandran(torsion_samples(3000, 0.1, 0), torsion_samples(4000, 0.1, 1))
    images = [axis.collections[0] for axis in axes]
    assert {image.get_clim() for image in images} == {(0, plots.CEILING)}
    for image in images:
        values = np.ma.filled(image.get_array().reshape(72, 72), np.inf)
        psi, phi = np.unravel_index(np.argmin(values), (72, 72))
        assert abs(-177.5 + 5 * phi - np.degrees(-1.9)) < 15  # the beta well is the deepest
        assert abs(-177.5 + 5 * psi - np.degrees(2.5)) < 15


def test_profiles_are_minus_log_counts():
    torsions = np.radians(np.repeat([[-62.0, 3.0], [58.0, 3.0]], [90, 10], axis=0))
    axes = plots.torsion_profiles(torsions, torsions)
    x, y = axes[0].lines[1].get_data()
    assert y[np.argmin(np.abs(x - 57.5))] == np.log(90) - np.log(10)
    assert np.isnan(y).sum() == 70


def test_energy_histogram_is_normalised_by_all_samples():
    rng = np.random.default_rng(0)
    model = np.concatenate([rng.normal(size=900), np.full(100, 1e6)])
    model[-100:] = 1e6
    axes = plots.energy_histogram(model, rng.normal(size=2000))
    inside = axes.patches[1].get_data()
    assert abs(np.sum(inside.values * np.diff(inside.edges)) + 0.1 - 1) < 0.12


def test_sd_ratio_plot_marks_each_term():
    table = [{"kind": kind, "sd_ratio": 1.0} for kind in ("bond", "bond", "angle")]
    lines = plots.sd_ratios([*table, {"kind": "improper", "sd_ratio": None}]).lines
    assert [len(line.get_xdata()) for line in lines[:3]] == [2, 1, 1]


def test_numbers_are_readable():
    shown = [number(x) for x in (None, 0, 0.012345, 1234.5, -0.5, 1e-7)]
    assert shown == ["–", "0", "0.0123", "1,234", "−0.500", "1.00e−07"]


def test_given_axes_are_drawn_into():
    own = Figure().subplots()
    torsions = torsion_samples(500, 0.1, 0)
    assert plots.free_energy_map(torsions, own, scale=False) is own
    assert own.get_title() == "n = 500" and own.get_xlabel() == "φ / °"
    assert plots.ramachandran_overlay(torsions, torsions, own) is own


def test_overlay_shows_samples_in_degrees_and_says_how_many():
    model = torsion_samples(4500, 0.1, 0)
    axes = plots.ramachandran_overlay(model, torsion_samples(4000, 0.1, 1), shown=2000)
    x, y = axes.lines[0].get_data()
    assert np.allclose(np.stack([x, y], axis=1), np.degrees(model[::3]))
    assert axes.get_legend().get_texts()[0].get_text() == "model (1,500 of 4,500)"


def test_surface_is_minus_log_counts():
    first = np.repeat([0.0, 1.0], [80, 20])
    axes = plots.free_energy_surface(first, first, bins=2)
    values = np.ma.filled(axes.collections[0].get_array().reshape(2, 2), np.inf)
    assert np.allclose(values, [[0, np.inf], [np.inf, np.log(4)]])


def test_quality_is_drawn_beside_its_floor_with_gaps():
    axes = plots.quality_against_steps(
        [1, 2, 4], [2.0, None, 0.5], "error / kT", [0.1, None, 0.6], [0.1, 0.1, 0.1], "MD"
    )
    assert np.array_equal(axes.lines[0].get_ydata(), [2.0, np.nan, 0.5], equal_nan=True)
    assert list(axes.lines[-1].get_ydata()) == [0.1] * 3
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "4"]
    bars = axes.containers[0].lines[2][0].get_segments()
    assert np.allclose(bars[0][:, 1], [1.9, 2.1]) and 0 < bars[-1][0, 1] < 0.5
