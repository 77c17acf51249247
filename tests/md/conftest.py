"""Makes the neighbouring helper module importable, which importlib mode does not."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def own(tmp_path, monkeypatch):
    from own_potential import systems_in

    return systems_in(tmp_path, monkeypatch)
