"""What a kind of map has to offer, and the kinds there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from molflow.data.dataset import TrainingData
from molflow.errors import MolflowError
from molflow.flow_map.base import FlowMap
from molflow.nn.graph import MolecularGraph
from molflow.objectives.residuals import Objective
from molflow.registry import Registry
from molflow.section import Section, chosen
from molflow.systems import MolecularSystem

if TYPE_CHECKING:
    import mdtraj

    from molflow.training.callbacks import Scores
    from molflow.training.configuration import TrainingConfig
    from molflow.training.fit import Batches


@dataclass(frozen=True)
class Material:
    """What a training run is made of.

    Attributes
    ----------
    system : MolecularSystem
    topology : mdtraj.Topology
    graph : MolecularGraph
    data : TrainingData
    settings : TrainingConfig
    frozen : FlowMap, optional
        The map that the run starts from, where the objective has one that stays as its teacher.
    known : object
        What the map that the run starts from knows besides its weights, see `MapKind.known`.
    """

    system: MolecularSystem
    topology: mdtraj.Topology
    graph: MolecularGraph
    data: TrainingData
    settings: TrainingConfig
    frozen: FlowMap | None = None
    known: Any = None


@dataclass(frozen=True)
class Ingredients:
    """What `molflow.fit` is given for a map.

    Attributes
    ----------
    objective : Objective
    batches : Batches
    clock : float
        Length of the clock of the times of the objective's residuals.
    validation : callable, optional
        Scores of a map.
    derivatives : str
        The setting that asks for derivatives of the network by its inputs, which a compiled one
        does not have, as ``key = value``; empty if there is none.
    on_host : tuple of str
        Entries of a batch that stay on the processor, because steps are planned with them.
    second_derivatives : bool
        Whether the network is differentiated by its inputs and then by its weights, as it is and
        not compiled; its layers cannot be computed again then.
    """

    objective: Objective
    batches: Batches
    clock: float
    validation: Scores | None = None
    derivatives: str = ""
    on_host: tuple[str, ...] = ()
    second_derivatives: bool = False


M = TypeVar("M", bound=FlowMap)


class Recipe(ABC, Generic[M]):
    """How the data of one run train a map.

    Attributes
    ----------
    known : object
        What the map knows besides its weights, for `MapKind.build`; often nothing.
    data_hash : str
        Names all data that decide the weights.
    scale : float, optional
        nm, the unit of length of the map; by default the spread of the data.
    """

    known: Any = None
    data_hash: str
    scale: float | None = None

    @abstractmethod
    def ingredients(self, flow_map: M) -> Ingredients:
        """Return what trains a map, new or loaded.

        Raises
        ------
        MolflowError
            If the settings ask for what these data or this map cannot give.
        """

    def finish(self, folder: Path, flow_map: M) -> None:  # noqa: B027
        """Add to the checkpoint of a finished run what is learned after its weights; in one
        process."""


class MapKind(ABC):
    """A kind of map: one of these, under its name among `MAPS`, is all that the verbs know of it.

    Attributes
    ----------
    use : str
        The verb that uses such a map: ``"sample"`` or ``"propagate"``.
    description : str
        What it does, for a verb that cannot use it: ``"samples conformations from noise"``.
    configuration, objective : type[Section]
        Of the sections ``map`` and ``objective`` of a training. That of `objective` has
        ``local_steps``, ``least_variance`` and ``family``.
    network : dict
        The section ``network`` of a training that has none.
    offers : frozenset of str
        What its equation has that some objectives need, of `molflow.objectives.families.NEEDS`.
    """

    use: ClassVar[str]
    description: ClassVar[str]
    configuration: ClassVar[type[Section]]
    objective: ClassVar[type[Section]]
    network: ClassVar[dict[str, Any]] = {}
    offers: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def build(
        self, graph: MolecularGraph, network: Section, config: Any, known: Any = None
    ) -> FlowMap:
        """Return an untrained map.

        Parameters
        ----------
        graph : MolecularGraph
        network : Section
            Configuration for `molflow.nn.registry.build_network`.
        config : Section
            Of the class `configuration`.
        known : object
            From `Recipe.known` or `known`.
        """

    @abstractmethod
    def recipe(self, material: Material) -> Recipe[Any]:
        """Return how data train such a map; it is made before the map.

        Raises
        ------
        MolflowError
            If the data lack what such a map needs.
        """

    def recipe_of_many(self, materials: Sequence[Material]) -> Recipe[Any]:
        """Return how data of several molecules train one map; its `known` fits the first.

        Raises
        ------
        MolflowError
            If the data lack what such a map needs, or such maps are of one molecule.
        """
        raise MolflowError(
            f"{len(materials)} systems are given, and a map that {self.description} learns one: "
            "give one system."
        )

    def check(self, settings: TrainingConfig) -> None:  # noqa: B027
        """Raise ValueError if parts of a configuration do not go together."""

    def basis_size(self, config: Any) -> int | None:
        """Return the features of an increment, for starts from another checkpoint."""
        return None

    def fixed(self, config: Any) -> dict[str, Any]:
        """Return the settings in which a run must agree with a checkpoint that it starts from."""
        return {}

    def describe(self, flow_map: Any) -> dict[str, Any]:
        """Return what a checkpoint has to say so that `known` can return it."""
        return {}

    def known(self, description: dict[str, Any]) -> Any:
        """Return what a map knows besides its weights, from the description of a checkpoint.

        Raises
        ------
        KeyError
            If the description lacks it.
        """
        return None

    def residual(self, folder: Path, description: dict[str, Any]) -> Any:
        """Return what `Recipe.finish` left in the folder of a checkpoint, None if nothing."""
        return None


#: The kinds there are, by the name that ``map.kind`` has; the first is that of files from before
#: there was a choice.
MAPS: Registry[MapKind] = Registry(
    "kind of map",
    "molflow.maps",
    {
        "denoiser": "molflow.maps.denoiser.kind:DENOISER",
        "langevin": "molflow.maps.langevin.kind:LANGEVIN",
        "overdamped": "molflow.maps.overdamped.kind:OVERDAMPED",
    },
)


def map_configuration(section: dict[str, Any] | Section) -> Any:
    """Return the checked configuration of a map.

    Raises
    ------
    ValueError
        If the kind or a key is unknown, or a value is not allowed.
    """
    return chosen(section, MAPS, "denoiser", "map")


def build_flow_map(
    graph: MolecularGraph, network: Section, config: Any, known: Any = None
) -> FlowMap:
    """Return an untrained flow map of a configuration; see `MapKind.build`."""
    return MAPS[config.kind].build(graph, network, config, known)
