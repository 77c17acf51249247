"""Which Boltzmann law weights are for: the map's own, at another temperature or of other forces."""

from __future__ import annotations

from pathlib import Path

from molflow.errors import MolflowError
from molflow.sampling.energies import energy_system
from molflow.systems import MolecularSystem, load_system
from molflow.training.checkpoint import Checkpoint


def target_of(
    checkpoint: Checkpoint,
    system: str | Path | None = None,
    temperature: str | float | None = None,
) -> MolecularSystem:
    """Return the system whose Boltzmann law the weights of a checkpoint's samples are for.

    Weights do not ask what a map was trained on: w = Ẑ(y)/q(y) holds for any law with an energy
    in the same coordinates. The further it is from the map's own, the fewer samples count.

    Parameters
    ----------
    checkpoint : Checkpoint
    system : str or path, optional
        Another force field or potential for the same atoms in the same order; by default that of
        the checkpoint.
    temperature : float or str, optional
        K; by default that of the system.

    Raises
    ------
    MolflowError
        If there are no energies, the atoms are others, or the temperature is impossible.
    """
    if system is None:
        found = energy_system(checkpoint.description)
        if isinstance(found, str):
            raise MolflowError(f"there is no Boltzmann law to weight by. {found}")
    else:
        found = load_system(system)
        _check_atoms(found, checkpoint)
    return found if temperature is None else found.at(temperature)


def _check_atoms(system: MolecularSystem, checkpoint: Checkpoint) -> None:
    ours, theirs = (
        [(atom.element.symbol, atom.name) for atom in topology.atoms]
        for topology in (checkpoint.topology(), system.topology())
    )
    if ours != theirs:
        place = next(
            (k for k, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
            min(len(ours), len(theirs)),
        )
        raise MolflowError(
            f"the target '{system.label}' has {len(theirs)} atoms and the checkpoint {len(ours)}, "
            f"and they differ from atom {place} on: give a system of the same atoms in the same "
            "order, with the names of the checkpoint's topology.pdb."
        )
