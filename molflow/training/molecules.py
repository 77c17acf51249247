"""The molecules that a checkpoint speaks of, and how far another one is from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molflow.data.dataset import TrainingData
from molflow.errors import MolflowError
from molflow.nn.chemistry import Chemistry, Novelty
from molflow.nn.graph import MolecularGraph
from molflow.systems import MolecularSystem

#: What of an ensemble does not change its Boltzmann law, or is the molecule itself.
_NO_LAW = {
    "name", "structure", "structure_sha256", "friction", "timestep", "hydrogen_mass",
    "forcefield_sha256",
}  # fmt: skip

#: What names the forces: other files are another force field in all of these at once.
_FORCES = {"forcefield", "system_xml", "files_sha256"}


def graph_of(system: MolecularSystem) -> MolecularGraph:
    """Return the molecule of a system, with the hands that its structure shows."""
    positions = system.start_positions()
    kept = positions if system.atoms is None else positions[system.atoms]
    return MolecularGraph.from_topology(system.topology(), kept)


def check_together(systems: Sequence[MolecularSystem]) -> None:
    """Raise `MolflowError` unless systems can be learned together.

    None may be a selection of atoms, and all have one law: force field or potential, temperature.
    """
    for system in systems:
        if system.variant is not None:
            raise MolflowError(
                f"'{system.label}' has some of the atoms of a molecule, and a network of many "
                "molecules knows them by all their bonds: give systems with all atoms."
            )
        if differ := _differ(system, systems[0].ensemble):
            raise MolflowError(
                f"'{system.label}' and '{systems[0].label}' have another {' and '.join(differ)}, "
                "and one map learns one law: give systems with the same."
            )


def describe(
    systems: Sequence[MolecularSystem],
    data: Sequence[TrainingData],
    graphs: Sequence[MolecularGraph],
) -> list[dict[str, Any]]:
    """Return what a checkpoint says of each of its molecules."""
    return [
        {
            **system.record,
            "data_hash": training.manifest["data_hash"],
            "split": training.manifest["split"],
            "scale_nm": training.manifest["scale"],
            "frames": len(training.train),
            "graph": graph.to_dict(),
        }
        for system, training, graph in zip(systems, data, graphs, strict=True)
    ]


def of_one(description: dict[str, Any], folder: Path, system: MolecularSystem) -> dict[str, Any]:
    """Return the description of a checkpoint of many molecules as that of one, seen or not.

    Raises
    ------
    MolflowError
        If the system is a selection of atoms.
    """
    check_together([system])
    graph, chemistry = graph_of(system), Chemistry.from_dict(description["chemistry"])
    molecules = description["molecules"]
    trained = next((one for one in molecules if one["ensemble_hash"] == system.ensemble_hash), None)
    new = chemistry.new_in(graph)
    said = _sentence(system, graph, molecules, trained is not None, new)
    return {
        **{name: value for name, value in description.items() if name != "molecules"},
        **system.record,
        "graph": graph.to_dict(),
        "split": {"train": [], "validation": [], "held_out": []} | (trained or {}).get("split", {}),
        "molecule": {"trained": trained is not None, **new.counts(), "sentence": said},
    }


def _sentence(
    system: MolecularSystem,
    graph: MolecularGraph,
    molecules: list[dict],
    trained: bool,
    new: Novelty,
) -> str:
    names = ", ".join(one["system"] for one in molecules)
    if trained:
        return f"{system.label} is one of the {len(molecules)} molecules of the training ({names})."
    same = next((m for m in molecules if MolecularGraph.from_dict(m["graph"]) == graph), None)
    # Graphs are equal whatever their hands, and the other hand has new surroundings.
    if same is not None and not any(new.surroundings):
        said = (
            f"{system.label} has the atoms and bonds of {same['system']}, one of the "
            f"{len(molecules)} molecules of the training ({names})."
        )
    else:
        said = (
            f"{system.label}, {graph.n_atoms} atoms, is none of the {len(molecules)} molecules of "
            f"the training ({names}): {_new_pieces(graph, molecules, new)}{new.sentence(graph)}."
        )
    if differ := _differ(system, molecules[0]["ensemble"]):
        said += (
            f" It has another {' and '.join(differ)} than these, whose law is what samples follow."
        )
    return said


def _new_pieces(graph: MolecularGraph, molecules: list[dict], new: Novelty) -> str:
    """Return which side chains and rings no molecule of the training had, or nothing."""
    sides = [name.removesuffix("-CB") for name in graph.names if name.endswith("-CB")]
    found = [f"the side chain of {side}" for side in sides if side[:3] in new.residues]
    seen = {ring for one in molecules for ring in _rings(MolecularGraph.from_dict(one["graph"]))}
    found += sorted({f"a ring {_formula(ring)}" for ring in _rings(graph) - seen})
    return f"none of these has {' or '.join(found)}; " if found else ""


def _rings(graph: MolecularGraph) -> set[tuple[tuple[int, int], ...]]:
    """Return for every ring the elements of its atoms, and to how many atoms each is bonded.

    So proline's ring is another than that of pyrrole.
    """
    # Here, as weights are read where mdtraj is absent, too.
    from molflow.analysis.molecule.graph import rings_of

    table = graph.neighbours()
    return {
        tuple(sorted((graph.elements[atom], len(table[atom])) for atom in ring))
        for ring in rings_of(table)
    }


def _formula(ring: tuple[tuple[int, int], ...]) -> str:
    import mdtraj

    counts = Counter(element for element, _ in ring)
    symbol = mdtraj.element.Element.getByAtomicNumber
    return "".join(f"{symbol(element).symbol}{n}" for element, n in sorted(counts.items()))


def _differ(system: MolecularSystem, other: dict) -> list[str]:
    """Return by which settings the law of a system is another than that of an ensemble."""
    own = system.ensemble
    keys = {key for key in {*own, *other} - _NO_LAW if own.get(key) != other.get(key)}
    return sorted({"force field" if key in _FORCES else key.replace("_", " ") for key in keys})
