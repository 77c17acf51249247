"""Makes the neighbouring helper modules importable, which importlib mode does not."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "flow_map")]


@pytest.fixture(scope="session")
def training_set(tmp_path_factory):
    from tiny_training import write_training_set

    return write_training_set(tmp_path_factory.mktemp("training") / "data")
