"""Makes the neighbouring module `broken_maps` importable, which importlib mode does not."""

import sys
from pathlib import Path

import pytest

from molflow.training.checkpoint import load_checkpoint

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def checkpoint():
    return load_checkpoint("alanine_dipeptide")
