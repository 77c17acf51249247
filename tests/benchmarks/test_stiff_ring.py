"""The ring's scores and both of its equations are right, and the committed figures hold."""

import json
import sys
from pathlib import Path

import pytest
import torch

from molflow.brownian.increment import Increment
from molflow.solvers.exponential_euler import exponential_euler_step

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from ring import ACROSS, OURS, PUBLISHED, RING, WEIGHTS, scores  # noqa: E402


@pytest.fixture(scope="module")
def truth():
    return RING.sample(200_000, torch.Generator().manual_seed(0))


def test_scores_measure_what_they_say(truth):
    radius = truth.norm(dim=1, keepdim=True)
    moved = scores(truth * (1.0 + 0.5 * ACROSS / radius), truth)
    assert moved["w1"] == pytest.approx(0.5, abs=1e-4)
    assert moved["tv"] < 1e-4
    # Without the component at pi/2, its weight is missing, and spread over the others.
    angle = torch.atan2(truth[:, 1], truth[:, 0])
    rest = truth[(angle - 1.5).abs() > 0.45]
    assert scores(rest, truth)["tv"] == pytest.approx(float(WEIGHTS[2]), abs=0.015)
    assert scores(truth / 0.0, truth) == {"w1": None, "tv": None}


@pytest.mark.parametrize(
    ("side", "radial"), [(OURS, 0.1), (PUBLISHED, 0.45)], ids=["ours", "published"]
)
def test_the_exact_denoiser_leads_to_the_ring(side, radial, truth):
    # On the published clock the last steps are long for the ring: 0.35, and 0.11 in 2,048 steps.
    generator = torch.Generator().manual_seed(1)
    count, steps = 3000, 256
    x = side.states(torch.zeros(count), generator)
    times = torch.tensor(side.grid(steps))
    for s, t in zip(times[:-1], times[1:], strict=True):
        z = torch.randn(count, 2, side.basis.size, generator=generator)
        increment = Increment.from_whitened(side.basis, t - s, z)
        x = exponential_euler_step(side.sde, side.denoise, s, t, x, increment)
    found = scores(x, truth)
    perfect = scores(RING.sample(count, generator), truth)
    assert perfect["w1"] < 0.04
    assert found["w1"] < radial
    assert found["tv"] < 0.03


def test_the_committed_figures():
    results = json.loads((BENCHMARKS / "results" / "stiff_ring.json").read_text(encoding="utf-8"))
    summary = results["summary"]
    assert summary["perfect_samples"]["w1"] < 0.03
    assert results["parameters"]["ours"] == results["parameters"]["published"]
    assert summary["ours"]["4"]["w1"] <= 0.3
    assert summary["ours"]["8"]["w1"] <= 0.15
    for steps in ("4", "8"):
        assert summary["ours"][steps]["tv"] <= 0.02
        assert summary["published"][steps]["w1"] > 1.0
