"""A potential of a file of its own, chosen by name in a system.yaml."""

import sys
from pathlib import Path

import numpy as np
import pytest

from molflow.errors import MolflowError
from molflow.md.energies import evaluate

sys.path.append(str(Path(__file__).parents[1] / "md"))


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent / "package")])


def water(folder, **options):
    from own_potential import water_under

    return water_under(folder, {"name": "plug", "options": options})


def test_energies_are_those_of_springs(tmp_path):
    system = water(tmp_path / "water", stiffness=2000.0)
    generator = np.random.default_rng(0)
    frames = system.start_positions() + 0.005 * generator.standard_normal((4, 3, 3))
    found = evaluate(system, frames, forces=True)
    vectors = frames[:, [0, 0]] - frames[:, [1, 2]]
    lengths = np.linalg.norm(vectors, axis=-1)
    assert np.allclose(found.energies, 1000.0 * ((lengths - 0.1) ** 2).sum(1), rtol=1e-5)
    pull = -2000.0 * (1 - 0.1 / lengths)[..., None] * vectors
    assert np.allclose(found.forces[:, 0], pull.sum(1), rtol=1e-4, atol=1e-3)


def test_an_option_that_it_does_not_take_is_a_sentence(tmp_path):
    with pytest.raises(MolflowError, match="'plug' takes no stifness: it takes stiffness"):
        evaluate(water(tmp_path / "water", stifness=1.0), np.zeros((1, 3, 3)))
