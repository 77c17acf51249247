"""Quantities with units at the border."""

import pytest
from openmm import unit

from molflow.errors import MolflowError
from molflow.units import parse_quantity


@pytest.mark.parametrize(
    ("given", "dimension", "value"),
    [("20fs", "time", 0.02), ("1.5 ns", "time", 1500.0), (2.5, "time", 2.5),
     ("350K", "temperature", 350.0), ("10/ps", "rate", 10.0), ("0.5 /fs", "rate", 500.0),
     (3.0, "rate", 3.0), (10 / unit.nanosecond, "rate", 0.01),
     (2 * unit.femtosecond, "time", 0.002), (1 * unit.angstrom, "length", 0.1)],
)  # fmt: skip
def test_quantities(given, dimension, value):
    assert parse_quantity(given, dimension) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("given", "dimension"),
    [("20ps", "rate"), ("20/ps", "time"), ("/ps", "rate"), ("1 / ps", "rate"),
     (2 * unit.kelvin, "rate"), ("fast", "time")],
)  # fmt: skip
def test_the_wrong_unit_is_told(given, dimension):
    with pytest.raises(MolflowError, match=f"friction is .*which is not a {dimension}"):
        parse_quantity(given, dimension, "friction")
