"""Typed configuration of a training run: defaults, checks and documentation in one place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, ValidationError, model_validator
from yaml import YAMLError

from molflow.errors import MolflowError
from molflow.training.network_configuration import KINDS, DenseConfig, NetworkConfig, Section


class MapConfig(Section):
    """The reverse diffusion and its increments. Noise levels in units of the data's spread."""

    sigma_max: float = Field(10.0, gt=0)
    sigma_min: float = Field(0.002, gt=0)
    eta: float = Field(1.0, gt=0, description="stochasticity; 1 is the ancestral diffusion")
    order: int = Field(4, ge=1, description="Legendre coefficients per step")
    focus: float = Field(0.4, gt=0, description="noise level at which basins are decided")
    focus_weight: float = Field(
        6.0, ge=0, description="how much denser jumps are there; 0 makes them equal in log sigma"
    )

    @model_validator(mode="after")
    def _ordered(self):
        if self.sigma_min >= self.sigma_max:
            raise ValueError("sigma_min must be below sigma_max")
        return self


class ObjectiveConfig(Section):
    """Mix of the local and the global objectives."""

    local_steps: int = Field(1500, ge=0, description="first training steps, local objective only")
    local_share: float = Field(0.6, gt=0, le=1, description="share of the batch afterwards")
    focus_share: float = Field(
        0.5, ge=0, le=1, description="share of local times drawn near map.focus"
    )
    stiffness: float = Field(3.0, ge=0, description="extra weight of errors along stiff pairs")
    stiff_below: float = Field(0.1, gt=0, description="noise level above which it fades out")
    least_variance: float = Field(
        0.03, gt=0, description="below this expected loss the learned weight stops growing"
    )
    anchor_share: float = Field(
        0.2, ge=0, le=1, description="share of the long steps that are tied to the denoiser"
    )
    anchor: tuple[float, float] = Field(
        (1 / 256, 1 / 32), description="their lengths / duration; the semigroup begins above"
    )
    typical_share: float = Field(
        0.5, ge=0, le=1, description="share of the other long steps of the length of a jump"
    )
    typical: tuple[float, float] = Field(
        (1 / 16, 1.0), description="their lengths / that of the clock of the jumps"
    )


class TrainingConfig(Section):
    """Everything that defines a training run, apart from its data."""

    network: NetworkConfig = DenseConfig()
    map: MapConfig = MapConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    steps: int = Field(10000, gt=0, description="training steps")
    batch_size: int = Field(64, gt=1)
    learning_rate: float = Field(1e-3, gt=0)
    learning_rate_warmup: int = Field(200, ge=0, description="steps")
    learning_rate_decay: int = Field(3000, ge=0, description="last steps, cosine to zero")
    ema_decay: float = Field(0.999, gt=0, lt=1, description="of the weights that are kept")
    teacher_decay: float = Field(0.995, gt=0, lt=1, description="of the weights that teach")
    gradient_clip: float = Field(1.0, gt=0)
    seed: int = 0
    steps_per_epoch: int = Field(250, gt=0, description="steps between two resumable states")
    validate_every: int = Field(4, gt=0, description="epochs between two validations")
    validation_samples: int = Field(1024, gt=0)
    validation_nfe: list[int] = Field([4], description="network evaluations per validation sample")


def load_configuration(
    files: Sequence[str | Path] = (), overrides: Sequence[str] = ()
) -> TrainingConfig:
    """Merge defaults, YAML files and ``key=value`` words, later ones winning.

    What names the kind of the network (``network.kind``) replaces all that was said of the network
    before: sizes of one kind mean nothing for another.

    Raises
    ------
    MolflowError
        If a file cannot be read, a key is unknown or a value is not allowed.
    """
    try:
        layers = [OmegaConf.load(path) for path in files]
        layers.append(OmegaConf.from_dotlist(list(overrides)))
        for k, layer in enumerate(layers):
            if OmegaConf.select(layer, "network.kind") is not None:
                for earlier in layers[:k]:
                    earlier.pop("network", None)
        merged = OmegaConf.to_container(OmegaConf.merge(*layers), resolve=True)
        return TrainingConfig(**merged)
    except ValidationError as error:
        first = error.errors()[0]
        # Without the kind, which pydantic puts between the network and its key.
        place = [part for k, part in enumerate(first["loc"]) if k != 1 or part not in KINDS]
        key = ".".join(str(part) for part in place)
        raise MolflowError(
            f"the training configuration is wrong at '{key}' = {first['input']!r}: {first['msg']}."
        ) from error
    except (OSError, YAMLError, OmegaConfBaseException, TypeError, ValueError) as error:
        raise MolflowError(f"the training configuration cannot be read: {error}") from error
