"""One unit system: nm, ps, amu, kJ/mol, K (OpenMM's own, so nothing is scaled inside).

Quantities with units enter at the border, as OpenMM quantities or as text such as ``"100ns"``.
"""

from __future__ import annotations

import re

from molflow.errors import MolflowError

#: Molar gas constant in kJ/(mol K), exact in the 2019 SI (k_B N_A).
GAS_CONSTANT = 8.31446261815324e-3

_SCALES = {
    "time": {"fs": 1e-3, "ps": 1.0, "ns": 1e3, "us": 1e6},
    "temperature": {"K": 1.0},
    "length": {"nm": 1.0, "A": 0.1},
    "rate": {"/ps": 1.0, "/ns": 1e-3, "/fs": 1e3},
    "mass": {"amu": 1.0, "Da": 1.0, "u": 1.0},
    "pressure": {"bar": 1.0, "atm": 1.01325},
}
_OPENMM_UNIT = {
    "time": ("picosecond", 1), "temperature": ("kelvin", 1), "length": ("nanometer", 1),
    "rate": ("picosecond", -1), "mass": ("dalton", 1), "pressure": ("bar", 1),
}  # fmt: skip
_TEXT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(/?[A-Za-z]*)\s*")


def thermal_energy(temperature: float) -> float:
    """Return kT in kJ/mol at a temperature in K."""
    return GAS_CONSTANT * temperature


def parse_quantity(value, dimension: str, name: str = "value") -> float:
    """Turn text, a number or an OpenMM quantity into a float in internal units.

    Parameters
    ----------
    value : str, float or openmm.unit.Quantity
        ``"100ns"``, ``"20 fs"``, ``"10/ps"``, ``2.5`` (already in internal units) or a quantity.
    dimension : {"time", "temperature", "length", "rate", "mass", "pressure"}
        Internal units are ps, K, nm, 1/ps, amu and bar.
    name : str
        What the value is called in the error message.

    Raises
    ------
    MolflowError
        If the text is not a finite number with a unit of that dimension.
    """
    scales = _SCALES[dimension]
    if hasattr(value, "value_in_unit"):
        from openmm import unit

        try:
            base, power = _OPENMM_UNIT[dimension]
            return float(value.value_in_unit(getattr(unit, base) ** power))
        except TypeError as error:
            raise MolflowError(f"{name} is {value}, which is not a {dimension}.") from error
    if isinstance(value, (int, float)):
        return float(value)
    match = _TEXT.fullmatch(str(value))
    if match is None or (match[2] and match[2] not in scales):
        raise MolflowError(
            f"{name} is '{value}', which is not a {dimension}: "
            f"write a number with one of the units {', '.join(scales)}."
        )
    return float(match[1]) * scales[match[2]] if match[2] else float(match[1])
