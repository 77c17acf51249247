"""The toy whose density and effective size are known: the flow of a map that is not one of ours."""

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
exact = importlib.import_module("exact")


def test_density_and_effective_size_of_a_gaussian_in_63_dimensions():
    found = exact.gaussian_toy(n=2000)
    assert found["largest_error_of_log_density"] < 1e-10
    assert found["ess"] == pytest.approx(found["ess_in_theory"], rel=0.1)
