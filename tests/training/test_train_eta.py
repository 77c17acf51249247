"""A run that begins from a map that is not told η, and samples of what comes of it."""

import numpy as np
import pytest
from tiny_training import SYSTEM, WORDS

import molflow
from molflow.errors import MolflowError
from molflow.training.run import train


@pytest.mark.filterwarnings("ignore")
def test_trained_from_a_map_that_is_not_told_and_sampled_at_any(training_set, tmp_path):
    plain = train(
        SYSTEM, training_set, tmp_path / "plain", overrides=[*WORDS, "map.eta=0.25"], progress=False
    )
    words = [*WORDS, "map.eta=0.25", "map.etas=[0,1]"]
    checkpoint = train(
        SYSTEM, training_set, tmp_path / "told", overrides=words, start=plain, progress=False
    )

    def drawn(**arguments):
        return molflow.sample(checkpoint, n=8, progress=False, **arguments).xyz

    assert np.array_equal(drawn(), drawn(eta=0.25))
    assert not np.allclose(drawn(), drawn(eta=1.0))
    assert np.allclose(drawn(flow=True), drawn(eta=0.0), atol=1e-6)
    with pytest.raises(MolflowError, match="the flow is the map at eta = 0"):
        drawn(flow=True, eta=0.5)
    with pytest.raises(MolflowError, match="0.25 alone"):
        molflow.sample(plain, n=8, eta=0.0, progress=False)
    with pytest.raises(MolflowError, match="do not have the same weights"):
        train(
            SYSTEM, training_set, tmp_path / "back", overrides=[*WORDS, "map.eta=0.25"],
            start=checkpoint, progress=False,
        )  # fmt: skip
