"""`molflow conformers`: what shapes a small molecule takes and how often, as an SDF."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from molflow.errors import MolflowError
from molflow.files import check_name, writable_folder, write_text
from molflow.units import parse_quantity, thermal_energy

if TYPE_CHECKING:
    import mdtraj
    import numpy as np

    from molflow.systems import MolecularSystem

#: kJ/mol/nm and steps of a descent.
_TOLERANCE, _ITERATIONS = 1.0, 1000
#: Heavy atoms of a small molecule.
_SMALL = 40
#: kJ/mol in a unit of free energy.
UNITS = {"kJ/mol": 1.0, "kcal/mol": 4.184}
#: The file in a system's folder that says bond orders.
DRAWN = "molecule.sdf"
#: First property of every molecule that is written here.
_MARK = "molflow_conformer"


def conformers(
    ensemble: str | Path | mdtraj.Trajectory,
    out: str | Path,
    *,
    top: str | Path | None = None,
    weights: str | Path | np.ndarray | None = None,
    system: str | Path | MolecularSystem | None = None,
    molecule: str | Path | None = None,
    n: int = 500,
    rmsd: str | float = "0.3A",
    energy_unit: str = "kJ/mol",
    seconds: float | None = None,
    progress: bool = True,
) -> dict:
    """Write the conformers of an ensemble, ranked by population.

    A conformer is a minimum of the potential energy, and its population the share of the
    conformations that run down to it (Stillinger and Weber, Phys. Rev. A 25, 978 (1982)).

    Parameters
    ----------
    ensemble, top, weights
        As for `molflow.compare`.
    out : path
        ``.sdf`` of the minima. Each molecule has its rank, population and free energy above the
        first, with intervals of 95 %, its energy, and the number of a conformation, from 0.
    system : str, Path or MolecularSystem, optional
        Whose energy has the minima and whose temperature gives free energies; by default that of
        the ensemble's record.
    molecule : path or str, optional
        SDF, MOL, MOL2 or SMILES that says the bond orders. By default those with which
        `molflow.init` made the system, or else such as fit the valences.
    n : int
        Conformations that are followed to their minimum, evenly spaced or drawn by weight.
    rmsd : str or float
        Root mean square distance of heavy atoms and polar hydrogens, where alike atoms may be
        exchanged, up to which minima are one; a float is in nm.
    energy_unit : {"kJ/mol", "kcal/mol"}
    seconds : float, optional
        Time for the descents; conformations that they do not reach are left out.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    dict
        ``conformers``, a list of ``population``, ``free_energy`` (each with ``low`` and ``high``),
        ``energy`` of the minimum above the lowest and ``sample``; ``temperature``, ``energy_unit``,
        ``n``, ``weighted`` and ``notes``.

    Raises
    ------
    MolflowError
        If the ensemble cannot be read, has not all atoms, its system is not known or gives no
        energies, or `out` would replace a file that is no list of conformers.
    """
    import numpy as np

    from molflow.analysis.conformers import find_conformers, sound
    from molflow.analysis.files.ensemble import read_ensemble
    from molflow.analysis.files.weight_files import read_log_weights
    from molflow.analysis.molecule.bond_orders import drawn_molecule, with_bond_orders
    from molflow.analysis.molecule.stereo import handedness, stereocentres
    from molflow.analysis.statistics import evenly_spaced
    from molflow.analysis.weighting import effective_size, normalised, part_of, systematic

    if energy_unit not in UNITS:
        raise MolflowError(f"energy_unit is '{energy_unit}': choose kJ/mol or kcal/mol.")
    distance = parse_quantity(rmsd, "length", "rmsd")
    if not 0 < distance < 10:
        raise MolflowError(f"rmsd is '{rmsd}': give a distance above 0, such as 0.3A.")
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise MolflowError(f"n is {n!r}: it must be a whole number, at least 1.")
    out = _free_name(Path(out))
    given = read_ensemble(ensemble, top)
    logs = given.log_weights
    if weights is not None:
        logs = read_log_weights(weights, given.n, "the ensemble")
    system = _system(given.record, system)
    topology = system.topology()
    given, atoms = given.in_order_of(topology)
    if len(atoms) != topology.n_atoms:
        raise MolflowError(
            f"the ensemble has {len(atoms)} of the {topology.n_atoms} atoms of '{system.name}': "
            "conformers need all of them."
        )
    if molecule is None and (system.folder / DRAWN).is_file():
        molecule = system.folder / DRAWN
    drawn = None if molecule is None else drawn_molecule(molecule)
    made = with_bond_orders(topology, drawn, _charge(system))
    share = normalised(logs)
    positions = np.concatenate([part.xyz for part in given.chunks(1000)])
    bonds = np.array([(a.index, b.index) for a, b in topology.bonds], int).reshape(-1, 2)
    hands = handedness(positions, stereocentres(topology))
    kept, notes = sound(positions, bonds, hands, share)
    rows = np.flatnonzero(kept)
    part = part_of(share, rows)
    worth = effective_size(len(rows), part)
    if part is None:
        rows = rows[evenly_spaced(len(rows), n)]
    elif n < len(rows):  # heavy ones are drawn several times, and followed once
        drawn_rows, times = np.unique(systematic(part, n, 0.5), return_counts=True)
        rows, part = rows[drawn_rows], times / n
    else:
        rows, part = rows[part > 0], part[part > 0]
    order = np.random.default_rng(0).permutation(len(rows))  # so that any first part is like all
    rows, part = rows[order], None if part is None else part[order]
    minima, energies = run_down(system, positions[rows], seconds, progress)
    if not len(minima):
        raise MolflowError(
            f"no conformation came down to its minimum in the {seconds:.3g} s that there were: "
            "give more time."
        )
    if len(minima) < len(rows):
        notes.append(f"{len(rows) - len(minima)} conformations were not reached in time.")
    rows, part = rows[: len(minima)], part_of(part, slice(len(minima)))
    back = np.argsort(rows, kind="stable")
    rows, part, minima = rows[back], part_of(part, back), minima[back]
    energies = energies[back]
    found = find_conformers(made, minima, energies, distance, part, worth)
    kelvin, size = system.temperature, UNITS[energy_unit]
    scale = thermal_energy(kelvin) / size
    entries = [
        {
            "population": _interval(c.population, c.low, c.high),
            "free_energy": _interval(
                *(scale * x for x in (c.free_energy, c.free_energy_low, c.free_energy_high))
            ),
            "energy": float((energies[c.sample] - energies.min()) / size),
            "sample": int(rows[c.sample]),
        }
        for c in found
    ]  # fmt: skip
    writable_folder(out.parent)
    write_text(out, _sdf(made, minima[[c.sample for c in found]], entries, kelvin, energy_unit))
    return {
        "conformers": entries, "temperature": kelvin, "energy_unit": energy_unit, "n": len(rows),
        "weighted": logs is not None, "notes": notes,
    }  # fmt: skip


def for_small_molecules(
    system: MolecularSystem, ensemble: Path, out: Path, seconds: float, progress: bool
) -> dict | None:
    """Write the conformers of an ensemble if its molecule is small and rdkit is there.

    Returns
    -------
    dict or None
        As `conformers`; ``{"notes": [sentence]}`` if they cannot be told, None if the molecule is
        large or not whole.
    """
    heavy = sum(a.element is not None and a.element.symbol != "H" for a in system.topology().atoms)
    if heavy > _SMALL or system.variant is not None or system.periodic:
        return None
    try:
        return conformers(ensemble, out, system=system, seconds=seconds, progress=progress)
    except MolflowError as error:
        return {"notes": [f"There are no conformers: {error}"]}


def format_conformers(found: dict) -> str:
    """Return the conformers as a table for a terminal."""
    unit, lines = found["energy_unit"], []
    lines.append(
        f"rank  population (95 %)      free energy (95 %)      energy, {unit}   conformation"
    )
    for rank, entry in enumerate(found["conformers"], 1):
        p, f = entry["population"], entry["free_energy"]
        lines.append(
            f"{rank:4d}  {p['value']:6.3f} ({p['low']:.3f}-{p['high']:.3f})   "
            f"{f['value']:8.2f} ({f['low']:.2f} to {f['high']:.2f})   "
            f"{entry['energy']:14.2f}   {entry['sample']:12d}"
        )
    return "\n".join([*lines, *(f"Note: {note}" for note in found["notes"])])


def _interval(value: float, low: float, high: float) -> dict:
    return {"value": float(value), "low": float(low), "high": float(high)}


def _free_name(out: Path) -> Path:
    """Return the path if nothing but an earlier list of conformers would be replaced."""
    check_name(out)
    if out.suffix.lower() != ".sdf":
        raise MolflowError(f"out is '{out}': conformers are written as .sdf.")
    if out.exists() and _MARK not in out.read_text(encoding="utf-8", errors="replace"):
        raise MolflowError(
            f"'{out}' is there already and is no list of conformers: choose another name for out."
        )
    return out


def _system(record: dict, given) -> MolecularSystem:
    """Return the system whose energy has the minima."""
    from molflow.systems import MolecularSystem, load_system, recorded_system

    if given is not None:
        system = given if isinstance(given, MolecularSystem) else load_system(given)
    elif "system" in record and "ensemble_hash" in record:
        system = recorded_system(record)
    else:
        raise MolflowError(
            "no record beside the ensemble says what it is of: give --system, which molflow init "
            "makes of a molecule."
        )
    if system.variant is not None or system.periodic:
        raise MolflowError(
            f"'{system.label}' is in a box or some of the atoms, and has no energy by itself whose "
            "minima could be told: molflow compare shows its clusters."
        )
    return system


def _charge(system: MolecularSystem) -> int:
    """Return the charge of the whole molecule."""
    from molflow.md.build import build, total_charge

    if system.potential is not None:
        return system.potential.charge
    built, _ = build(system)
    return round(total_charge(built) or 0.0)


def run_down(
    system: MolecularSystem, positions: np.ndarray, seconds: float | None, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the minima that conformations run down to, nm, and their energies in kJ/mol.

    Parameters
    ----------
    system : MolecularSystem
    positions : ndarray, (n, n_atoms, 3)
        nm.
    seconds : float, optional
        After which the one that is not there yet is given up.
    progress : bool
    """
    import time

    import numpy as np
    import openmm

    from molflow.md.build import build, make_integrator
    from molflow.md.energies import fitting_platform
    from molflow.md.minimise import minimise
    from molflow.progress import track

    built, _ = build(system)
    context = openmm.Context(
        built, make_integrator(system, system.temperature, 0), fitting_platform(built)
    )
    minima, energies = np.empty(positions.shape, np.float32), np.empty(len(positions))
    end = None if seconds is None else time.monotonic() + seconds
    for k in track(range(len(positions)), "running down to minima", progress):
        context.setPositions(positions[k])
        left = None if end is None else end - time.monotonic()
        if not minimise(system, context, _TOLERANCE, _ITERATIONS, left):
            return minima[:k], energies[:k]
        state = context.getState(positions=True, energy=True)
        minima[k] = state.getPositions(asNumpy=True)._value
        energies[k] = state.getPotentialEnergy()._value
    return minima, energies


def _sdf(molecule, positions, entries: list[dict], kelvin: float, unit: str) -> str:
    """Return an SDF of conformers, laid on the first of them."""
    from rdkit import Chem
    from rdkit.Chem import rdMolAlign

    from molflow.analysis.conformers import compared_atoms, place

    place(molecule, positions)
    Chem.AssignStereochemistryFrom3D(molecule, confId=0)
    rdMolAlign.AlignMolConformers(molecule, atomIds=compared_atoms(molecule))
    text = io.StringIO()
    with Chem.SDWriter(text) as writer:
        for rank, entry in enumerate(entries, 1):
            molecule.SetProp("_Name", f"conformer {rank}")
            molecule.SetProp(_MARK, str(rank))
            for name, values, label in (
                ("population", entry["population"], ""),
                ("free_energy", entry["free_energy"], f"_{unit.replace('/', '_')}"),
            ):
                for key, value in values.items():
                    ending = "" if key == "value" else f"_{key}"
                    molecule.SetProp(f"{name}{ending}{label}", f"{value:.6g}")
            molecule.SetProp(f"energy_{unit.replace('/', '_')}", f"{entry['energy']:.6g}")
            molecule.SetProp("conformation", str(entry["sample"]))
            molecule.SetProp("temperature_K", f"{kelvin:g}")
            writer.write(molecule, confId=rank - 1)
    return text.getvalue()
