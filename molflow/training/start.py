"""The weights that a run starts from: a checkpoint of the same molecule, or of one like it.

Where networks have a row of weights for each atom (`EquivariantNetwork.atom_tables`), an atom takes
that of an atom of its kind, residue and name, so that each alanine of a peptide starts from the
alanine of a smaller one; an atom without one takes that of the atom most like it, of its element at
least, so that a protein starts from a peptide. What distances are like is measured anew then, and
lengths are in units of the new molecule's spread.
"""

from __future__ import annotations

from typing import Any

import torch

from molflow.errors import MolflowError
from molflow.flow_map.base import FlowMap
from molflow.nn.graph import MolecularGraph, kinds_of
from molflow.nn.registry import NETWORKS, network_configuration
from molflow.objectives.families import START
from molflow.objectives.registry import OBJECTIVES
from molflow.training.checkpoint import Checkpoint
from molflow.training.configuration import TrainingConfig
from molflow.training.kinds import map_configuration

_FEATURES = "features of an increment (map.order, and one more unless map.eta is 0)"


def _graph_of(origin: Checkpoint) -> MolecularGraph:
    return MolecularGraph.from_dict(origin.description["graph"])


def is_of(origin: Checkpoint, graph: MolecularGraph) -> bool:
    """Return whether a checkpoint is of this molecule."""
    return _graph_of(origin) == graph


def counterparts(graph: MolecularGraph, other: MolecularGraph) -> list[int | None]:
    """Return for every atom of a molecule the first of another that is most like it, if any.

    Best is one of the same residue, name and element, with neighbours of the same elements (all
    ligands may be called MOL, and their atoms C1, C2, ...) and, if both molecules know them, the
    same hand; else one that is alike but for residue and name; then one of the same element and
    hand; then of the same element.
    """
    known = bool(graph.hands and other.hands)

    def keys(one: MolecularGraph) -> list[list[tuple]]:
        around = [tuple(sorted(one.elements[k] for k in bonded)) for bonded in one.neighbours()]
        hands = one.hands if known else one.elements
        each = zip(kinds_of(one), around, hands, one.elements, strict=True)
        # From the most to the least that two atoms can have in common.
        return [
            [(kind, near, hand, element), (near, hand, element), (hand, element), (element,)]
            for kind, near, hand, element in each
        ]

    first = {key: k for k, levels in reversed(list(enumerate(keys(other)))) for key in levels}
    return [next((first[key] for key in levels if key in first), None) for levels in keys(graph)]


def check_start(origin: Checkpoint, graph: MolecularGraph, settings: TrainingConfig) -> None:
    """Raise `MolflowError` unless a run can start from a checkpoint.

    Parameters
    ----------
    origin : Checkpoint
    graph : MolecularGraph
        The molecule of the run.
    settings : TrainingConfig
    """
    stored = origin.description["configuration"]
    if not is_of(origin, graph):
        _check_another(origin, graph, settings)
    before, now = map_configuration(stored["map"]), settings.map
    pairs = [
        ("network", network_configuration(stored["network"]), settings.network),
        ("map.kind", before.kind, now.kind),
    ]
    if before.kind == now.kind:
        kind = settings.kind
        fixed = kind.fixed(before), kind.fixed(now)
        pairs.append((_FEATURES, kind.basis_size(before), kind.basis_size(now)))
        pairs += [(name, fixed[0].get(name), value) for name, value in fixed[1].items()]
    for name, had, has in pairs:
        if had != has:
            raise MolflowError(
                f"start is '{origin.folder}', with {name} = {had}, and the configuration says "
                f"{has}: make them equal, or train from random weights."
            )


def _check_another(origin: Checkpoint, graph: MolecularGraph, settings: TrainingConfig) -> None:
    found = counterparts(graph, _graph_of(origin))
    lacking = [name for name, atom in zip(graph.names, found, strict=True) if atom is None]
    why = None
    if lacking:
        shown = ", ".join(lacking[:4]) + (", ..." if len(lacking) > 4 else "")
        why = f"it has no atoms of the elements of {shown}"
    elif not NETWORKS[settings.network.kind].atom_tables:
        why = f"weights of the network {settings.network.kind} do not go from one to another"
    elif START in OBJECTIVES[settings.objective.family].needs:
        why = f"the teacher of objective.family = {settings.objective.family} stays what it is"
    elif settings.kind.use != "sample":
        why = "only maps that sample go from one to another"
    if why is not None:
        raise MolflowError(
            f"start is '{origin.folder}', a checkpoint of '{origin.description['system']}': its "
            f"molecule is not the one to be trained, and {why}. Take a checkpoint of the same "
            "atoms and bonds."
        )


def start_from(flow_map: FlowMap, origin: Checkpoint, graph: MolecularGraph) -> None:
    """Take the weights of a checkpoint; what is zero at the beginning may be missing there.

    Raises
    ------
    MolflowError
        If there are other weights than the map has.
    """
    own, given = flow_map.state_dict(), origin.flow_map.state_dict()
    differ = sorted(set(given) - set(own)) + [k for k in own if k not in given and own[k].any()]
    if differ:
        raise MolflowError(
            f"start is '{origin.folder}', whose map and the one to be trained do not have the same "
            f"weights ({', '.join(differ)}): make the configurations equal, as map.etas."
        )
    if not is_of(origin, graph):
        given = _for_another(flow_map, given, counterparts(graph, _graph_of(origin)))
    flow_map.load_state_dict(given, strict=False)


def _for_another(
    flow_map: FlowMap, given: dict[str, Any], atoms: list[int | None]
) -> dict[str, Any]:
    """Return weights with the rows of each atom's counterpart, and no statistics."""
    network: Any = flow_map.network
    learned = {name for name, _ in flow_map.named_parameters()}
    kept = {name: value for name, value in given.items() if name in learned}
    rows = torch.tensor(atoms)
    for table, axis in network.atom_tables.items():
        name = f"network.{table}"
        kept[name] = given[name].index_select(axis, rows)
    return kept
