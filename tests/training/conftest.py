"""Makes the neighbouring helper modules importable, which importlib mode does not."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "flow_map"), str(HERE.parent / "analysis")]


@pytest.fixture(scope="session")
def training_set(tmp_path_factory):
    from tiny_training import write_training_set

    return write_training_set(tmp_path_factory.mktemp("training") / "data")
