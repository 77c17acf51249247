"""Well-tempered metadynamics in phi and psi: a check of free energies without tempering.

A bias grows where the two torsions have been (Barducci, Bussi, Parrinello, PRL 100, 020603
(2008)), so both slow angles are driven at 300 K itself. Independent runs give the interval.
"""

from __future__ import annotations

import argparse
import platform
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

import molflow
from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json, writable_folder, write_arrays, write_json
from molflow.md.build import build, make_integrator
from molflow.md.torsions import backbone_torsions
from molflow.md.workers import caller_not_rerun, end_with_parent, number_of_jobs, spawning
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem, load_system
from molflow.units import parse_quantity, thermal_energy


@dataclass(frozen=True)
class MetadynamicsPlan:
    """What to run: times in ps, widths in rad, the height of a Gaussian in kJ/mol."""

    runs: int = 4
    time: float = 5000.0
    height: float = 1.0
    width: float = 0.3
    bias_factor: float = 6.0
    deposit_every: float = 0.5
    snapshots: int = 50
    grid: int = 73
    seed: int = 0


def phi_psi_atoms(system: MolecularSystem) -> tuple[list[int], list[int]]:
    """Return the four atoms of phi and of psi.

    Raises
    ------
    MolflowError
        If the molecule does not have exactly one residue with both angles.
    """
    phi, psi = backbone_torsions(system)
    if len(phi) != 1 or len(psi) != 1:
        raise MolflowError(
            f"'{system.name}' has {len(phi)} phi and {len(psi)} psi angles: "
            "metadynamics here needs a molecule with exactly one of each."
        )
    return phi[0], psi[0]


def run_metadynamics(system: MolecularSystem, plan: MetadynamicsPlan, run: int, path) -> None:
    """Run one independent simulation and write its free-energy surfaces (snapshots, psi, phi)."""
    built, topology = build(system)
    variables = []
    for atoms in phi_psi_atoms(system):
        angle = openmm.CustomTorsionForce("theta")
        angle.addTorsion(*atoms, [])
        variables.append(
            app.BiasVariable(angle, -np.pi, np.pi, plan.width, periodic=True, gridWidth=plan.grid)
        )
    deposit = round(plan.deposit_every * 1e3 / system.timestep)
    temperature = system.temperature * unit.kelvin
    bias = app.Metadynamics(built, variables, temperature, plan.bias_factor, plan.height, deposit)
    seed = derive_seed(plan.seed, "metadynamics", run, bits=30)
    # Gaussians are deposited by the clock, nothing else is random but the thermostat.
    integrator = make_integrator(system, system.temperature, seed)
    reference = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, built, integrator, reference)
    simulation.context.setPositions(system.start_positions())
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(temperature, seed)
    steps = round(plan.time * 1e3 / system.timestep / plan.snapshots / deposit) * deposit
    surfaces = []
    for _ in range(plan.snapshots):
        bias.step(simulation, steps)
        surfaces.append(bias.getFreeEnergy().value_in_unit(unit.kilojoule_per_mole))
    if not np.isfinite(surfaces).all():
        raise MolflowError(f"metadynamics run {run} blew up: check the time step.")
    write_arrays(path, free_energy=np.array(surfaces))


def delta_f_alpha_l(surfaces: np.ndarray, kt: float) -> float:
    """Return -ln[P(0 < phi < 2 rad) / P(rest)] of free-energy surfaces, in kT.

    Parameters
    ----------
    surfaces : ndarray, (snapshots, psi, phi)
        kJ/mol on grids from -pi to pi, both ends included. The second half of the snapshots is
        averaged: well-tempered surfaces fluctuate about their limit.
    kt : float
        kJ/mol.
    """
    surface = surfaces[len(surfaces) // 2 :].mean(axis=0)[:-1, :-1] / kt
    weight = np.exp(-(surface - surface.min())).sum(axis=0)
    phi = np.linspace(-np.pi, np.pi, surfaces.shape[-1])[:-1]
    inside = (phi > 0.0) & (phi < 2.0)
    return float(-np.log(weight[inside].sum() / weight[~inside].sum()))


def metadynamics(
    system: MolecularSystem, out: str | Path, plan: MetadynamicsPlan, jobs: int | None = None
) -> dict:
    """Run what is missing in a folder, and return the free energy of alpha-L.

    Parameters
    ----------
    system : MolecularSystem
        With exactly one phi and one psi.
    out : str or Path
        Folder for ``metadynamics.json`` (provenance and result) and one file a run. Runs that
        are there are not run again, so an interrupted call goes on by the same call.
    plan : MetadynamicsPlan
    jobs : int, optional
        Processes; one per core by default.

    Returns
    -------
    dict
        The content of ``metadynamics.json``; ``delta_f_alpha_l`` has ``value``, ``error`` (the
        standard error over runs), ``interval`` (95 %) and ``by_run``, in kT.

    Raises
    ------
    MolflowError
        If the folder holds another plan or ensemble or cannot be written, or a run blows up.
    """
    phi_psi_atoms(system)
    out = writable_folder(out)
    manifest = {
        "system": system.name,
        "ensemble": system.ensemble,
        "ensemble_hash": system.ensemble_hash,
        "plan": asdict(plan),
        "platform": "Reference",
        "versions": {
            "molflow": molflow.__version__,
            "openmm": openmm.__version__,
            "python": platform.python_version(),
        },
    }
    path = out / "metadynamics.json"
    if path.exists():
        stored = read_json(path)
        if any(stored.get(key) != manifest[key] for key in ("ensemble_hash", "plan")):
            raise MolflowError(
                f"'{out}' holds metadynamics of another ensemble or plan: choose another folder."
            )
    write_json(path, manifest)
    files = [out / f"run-{run}.npz" for run in range(plan.runs)]
    missing = [run for run, file in enumerate(files) if not file.exists()]
    start = time.monotonic()
    jobs = number_of_jobs(jobs, len(missing))
    with ProcessPoolExecutor(jobs, mp_context=spawning, initializer=end_with_parent) as pool:
        with caller_not_rerun():
            running = [
                pool.submit(run_metadynamics, system, plan, run, files[run]) for run in missing
            ]
        try:
            for count, finished in enumerate(as_completed(running), 1):
                finished.result()
                seconds = time.monotonic() - start
                print(f"{count} of {len(missing)} runs, {seconds:.0f} s", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    kt = thermal_energy(system.temperature)
    values = [delta_f_alpha_l(read_arrays(file)["free_energy"], kt) for file in files]
    value = float(np.mean(values))
    error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    manifest["delta_f_alpha_l"] = {
        "value": value,
        "error": error,
        "interval": [value - 1.96 * error, value + 1.96 * error],
        "by_run": values,
    }
    write_json(path, manifest)
    return manifest


def main(arguments: list[str] | None = None) -> None:
    """Run ``python -m molflow.md.metadynamics SYSTEM --out DIR``."""
    parser = argparse.ArgumentParser(prog="molflow.md.metadynamics", description=__doc__)
    parser.add_argument("system")
    parser.add_argument("--out", required=True)
    parser.add_argument("--time", default="5ns", help="time of each run")
    parser.add_argument("--runs", type=int, default=MetadynamicsPlan.runs)
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    duration = parse_quantity(options.time, "time", "--time")
    plan = MetadynamicsPlan(runs=options.runs, time=duration, seed=options.seed)
    result = metadynamics(load_system(options.system), options.out, plan, options.jobs)
    free_energy = result["delta_f_alpha_l"]
    print(f"Delta F(alpha-L) = {free_energy['value']:.3f} +- {free_energy['error']:.3f} kT")


if __name__ == "__main__":
    # The workers look functions up by module, and to them `__main__` is another one.
    from molflow.md.metadynamics import main as importable_main

    importable_main()
