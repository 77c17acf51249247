"""Makes the neighbouring module `broken_maps` importable, which importlib mode does not."""

import sys
from pathlib import Path

import pytest

from molflow.training.checkpoint import load_checkpoint

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "analysis")]


@pytest.fixture(scope="session")
def checkpoint():
    return load_checkpoint("alanine_dipeptide")
