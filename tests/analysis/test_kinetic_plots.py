import numpy as np
from matplotlib.figure import Figure

from molflow.analysis.kinetics import kinetic_plots


def time_scale(lag, process, value, interval=None):
    return {
        "lag_ps": lag, "process": process, "value_ps": value, "interval_ps": interval,
        "verdict": "resolved" if interval else "inconclusive",
    }  # fmt: skip


def test_time_scales_that_are_not_known_are_hollow_and_unconnected():
    rows = [
        time_scale(1, 0, 20.0, [18.0, 23.0]), time_scale(2, 0, 21.0, [19.0, 23.0]),
        time_scale(4, 0, 22.0), time_scale(1, 1, 0.5), time_scale(2, 1, None),
    ]  # fmt: skip
    own = Figure().subplots()
    axes = kinetic_plots.implied_timescales(rows, own)
    assert axes is own
    (sure,) = [line for line in axes.lines if list(line.get_ydata()) == [20.0, 21.0]]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    assert [list(line.get_xdata()) for line in hollow] == [[4], [1]]
    assert sure.get_linestyle() == "-" and {line.get_linestyle() for line in hollow} == {"None"}
    ends = axes.containers[0].lines[2][0].get_segments()
    assert np.allclose([end[:, 1] for end in ends], [[18, 23], [19, 23]])


def test_chapman_kolmogorov_draws_both_sides():
    rows = [
        {"multiple": k, "set": s, "predicted": 0.9**k, "estimated": 0.8**k, "interval": [0, 0.1]}
        for k in (1, 2) for s in (0, 1)
    ]  # fmt: skip
    axes = kinetic_plots.chapman_kolmogorov({"rows": rows, "verdict": "fail"}, 5.0)
    drawn = {line.get_label(): line.get_data() for line in axes.lines}
    x, y = drawn["set 2, predicted"]
    assert list(x) == [5, 10] and np.allclose(y, [0.9, 0.81])
    assert axes.get_title().endswith("lag 5 ps: fail")


def test_autocorrelations_have_their_bands():
    times = np.arange(4.0)
    curve = {"times": times, "value": 0.5**times, "low": 0.4**times, "high": 0.6**times}
    axes = kinetic_plots.autocorrelation({"φ": curve, "ψ": curve})
    assert np.allclose(axes.lines[0].get_ydata(), 0.5**times)
    assert axes.lines[0].get_linestyle() != axes.lines[1].get_linestyle()
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == 1.0
