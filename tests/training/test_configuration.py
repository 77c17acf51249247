import math

import pytest
from pydantic import ValidationError

from molflow.errors import MolflowError
from molflow.nn.sparse_attention import SparseConfig
from molflow.training.configuration import TrainingConfig, load_configuration
from molflow.training.schedule import learning_rate_factor


def test_later_layers_win(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("steps: 10\nbatch_size: 8\nnetwork: {layers: 2, heads: 2}\n")
    second.write_text("batch_size: 16\nnetwork: {layers: 3}\n")
    config = load_configuration([first, second], ["network.layers=5", "validation_nfe=[1,2]"])
    assert (config.steps, config.batch_size) == (10, 16)
    assert (config.network.layers, config.network.heads) == (5, 2)
    assert config.validation_nfe == [1, 2]
    assert config.learning_rate == TrainingConfig().learning_rate


def test_files_from_before_there_was_a_choice_mean_the_dense_network(tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text("network: {scalars: 16, vectors: 8}\n")
    network = load_configuration([path]).network
    assert (network.kind, network.scalars, network.vectors) == ("dense", 16, 8)


def test_another_kind_of_network_forgets_the_sizes_of_the_one_before(tmp_path):
    path = tmp_path / "system.yaml"
    path.write_text("network: {scalars: 16, vectors: 8, pair_width: 4}\nsteps: 10\n")
    config = load_configuration([path], ["network.kind=sparse", "network.layers=3"])
    assert config.steps == 10
    assert config.network == SparseConfig(kind="sparse", layers=3)
    with pytest.raises(MolflowError, match="'network.pair_width' = 4: Extra inputs"):
        load_configuration([], ["network.kind=sparse", "network.pair_width=4"])


def test_nothing_given_means_the_defaults():
    assert load_configuration() == TrainingConfig()


def test_configuration_survives_its_own_dump():
    config = load_configuration([], ["map.eta=0.5", "seed=7"])
    assert TrainingConfig(**config.model_dump()) == config


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("stepss=3", "'stepss' = 3: Extra inputs are not permitted"),
        ("network.width=3", "'network.width' = 3"),
        ("steps=0", "'steps' = 0: Input should be greater than 0"),
        ("steps=many", "'steps' = 'many'"),
        ("steps", "'steps' = None"),
        ("ema_decay=1.0", "'ema_decay' = 1.0"),
        ("objective.local_share=1.5", "'objective.local_share' = 1.5"),
        ("network.heads=5", "heads must divide scalars and vectors"),
        ("network.kind=other", "network.kind must be one of dense, shared, sparse, tensor_product"),
        ("map.sigma_min=20", "sigma_min must be below sigma_max"),
    ],
)
def test_wrong_words_are_sentences(word, sentence):
    with pytest.raises(MolflowError, match="the training configuration is wrong") as error:
        load_configuration([], [word])
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    "content", [b"steps: [1, 2", b"- 1\n- 2\n", b"1: 2\n", b"\xff\xfe\x00", b"steps: ${nothing}\n"]
)
def test_unreadable_files_are_sentences(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(MolflowError, match="the training configuration cannot be read"):
        load_configuration([path])


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_missing_file_is_a_sentence(tmp_path, name):
    with pytest.raises(MolflowError, match="the training configuration cannot be read"):
        load_configuration([tmp_path / name])


def test_sections_forbid_what_they_do_not_know():
    with pytest.raises(ValidationError):
        TrainingConfig(map={"sigma": 3})


def test_learning_rate_factor():
    config = TrainingConfig(steps=100, learning_rate_warmup=10, learning_rate_decay=40)
    factors = [learning_rate_factor(step, config) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * (k + 1) for k in range(10)])
    assert factors[10:61] == [1.0] * 51
    assert factors[80] == pytest.approx(0.5)
    assert factors[90] == pytest.approx(0.5 - 0.5 * math.cos(math.pi / 4))
    assert factors[100] == 0.0
    assert all(a >= b for a, b in zip(factors[60:], factors[61:], strict=False))


def test_learning_rate_without_warmup_or_decay_is_flat():
    config = TrainingConfig(steps=5, learning_rate_warmup=0, learning_rate_decay=0)
    assert [learning_rate_factor(step, config) for step in range(5)] == [1.0] * 5


def test_dynamics_has_objectives_and_a_network_of_its_own():
    config = load_configuration((), ["map.kind=langevin", "objective.rollouts=7"])
    assert config.objective.kind == "langevin" and config.objective.rollouts == 7
    assert (config.network.scalars, config.network.vectors, config.network.layers) == (48, 24, 3)
    assert load_configuration((), []).network.scalars == 96
    own = load_configuration((), ["map.kind=overdamped", "network.scalars=32"])
    assert (own.network.scalars, own.network.layers) == (32, 4)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["map.kind=langevin", "map.eta=1"], r"wrong at 'map.eta' = 1: Extra"),
        (["map.kind=langevin", "objective.stiffness=1"], r"at 'objective.stiffness' = 1: Extra"),
        (["map.kind=overdamped", "objective.frictions=[1,2]"], "is of no use where map.kind ="),
        (["map.kind=overdamped", "objective.curl_share=0.5"], "for map.kind = langevin, which may"),
        (["map.kind=newton"], "map.kind must be one of denoiser, langevin, overdamped"),
        (["objective.kind=langevin"], "does not go with map.kind = denoiser: leave it out"),
        (["map.kind=langevin", "map.longest_lag=0.0005"], "objective.anchor ends at 0.0006 ps"),
        (["map.kind=langevin", "objective.anchor=[0.1,0.01]"], "anchor must be two positive"),
    ],
)
def test_what_does_not_go_together_is_a_sentence(words, sentence):
    with pytest.raises(MolflowError, match=sentence):
        load_configuration((), words)


def test_a_file_with_aliases_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("network: &a {layers: 1}\nmap: *a\n")
    with pytest.raises(MolflowError, match="alias '\\*a' in line 2"):
        load_configuration([tmp_path / "a.yaml"])
