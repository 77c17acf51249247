"""Umbrella sampling along phi: a check of free energies that does not rest on tempering.

Every window holds phi near its centre by a periodic harmonic bias; its chains start from
different psi, because psi is the slow angle that the bias leaves alone. Plain Langevin dynamics,
no exchanges.
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
from openmm import unit

import molflow
from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json, writable_folder, write_arrays, write_json
from molflow.md.build import build, make_integrator
from molflow.md.mbar import BiasedChain, delta_f_alpha_l
from molflow.md.torsions import backbone_torsions, torsion, wrap
from molflow.md.workers import caller_not_rerun, end_with_parent, number_of_jobs, spawning
from molflow.seeds import derive_seed
from molflow.systems import MolecularSystem, load_system
from molflow.units import parse_quantity, thermal_energy

#: Steering: this many moves of the bias centre, each followed by this many ps.
_MOVES, _MOVE_TIME = 40, 0.25
#: psi of the first chain of each window in radians; the others are spread evenly from here.
_FIRST_PSI = np.deg2rad(150.0)


@dataclass(frozen=True)
class UmbrellaPlan:
    """What to run: times in ps, `force_constant` in kJ/(mol rad^2)."""

    windows: int = 36
    chains: int = 2
    time: float = 300.0
    equilibration: float = 20.0
    frame_interval: float = 0.5
    force_constant: float = 200.0
    seed: int = 0

    @property
    def centres(self) -> np.ndarray:
        """Centres of the windows in radians, shape (windows,)."""
        return -np.pi + 2 * np.pi * (np.arange(self.windows) + 0.5) / self.windows


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
            "umbrella sampling along phi needs a molecule with exactly one of each."
        )
    return phi[0], psi[0]


def torsion_bias(name: str, atoms: list[int]) -> openmm.CustomTorsionForce:
    """Return k d^2 / 2, d the periodic distance; parameters ``{name}_k`` and ``{name}_0``."""
    force = openmm.CustomTorsionForce(
        f"0.5*{name}_k*d^2; d = min(a, {2 * np.pi:.17g} - a); a = abs(theta - {name}_0)"
    )
    force.addGlobalParameter(f"{name}_k", 0.0)
    force.addGlobalParameter(f"{name}_0", 0.0)
    force.addTorsion(*atoms, [])
    return force


def run_chain(system: MolecularSystem, plan: UmbrellaPlan, window: int, chain: int, path) -> None:
    """Steer a fresh molecule to the window and to the chain's psi, then record phi and psi."""
    phi_atoms, psi_atoms = phi_psi_atoms(system)
    built, _ = build(system)
    for name, atoms in (("phi", phi_atoms), ("psi", psi_atoms)):
        built.addForce(torsion_bias(name, atoms))
    seed = derive_seed(plan.seed, "window", window, "chain", chain, bits=30)
    integrator = make_integrator(system, system.temperature, seed)
    context = openmm.Context(built, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(system.start_positions())
    openmm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(system.temperature * unit.kelvin, seed)

    def steps(picoseconds: float) -> int:
        return round(picoseconds * 1e3 / system.timestep)

    def positions() -> np.ndarray:
        return context.getState(positions=True).getPositions(asNumpy=True)._value

    start = positions()[None]
    psi_target = _FIRST_PSI + 2 * np.pi * chain / plan.chains
    for name, atoms, target in (
        ("phi", phi_atoms, plan.centres[window]),
        ("psi", psi_atoms, psi_target),
    ):
        context.setParameter(f"{name}_k", 4 * plan.force_constant)
        first = torsion(start, atoms)[0]
        for move in range(1, _MOVES + 1):
            centre = wrap(first + wrap(target - first) * move / _MOVES)
            context.setParameter(f"{name}_0", centre)
            integrator.step(steps(_MOVE_TIME))
    context.setParameter("phi_k", plan.force_constant)
    context.setParameter("psi_k", 0.0)
    integrator.step(steps(plan.equilibration))

    frames = np.empty((round(plan.time / plan.frame_interval), *start.shape[1:]))
    for index in range(len(frames)):
        integrator.step(steps(plan.frame_interval))
        frames[index] = positions()
    if not np.isfinite(frames).all():
        raise MolflowError(f"chain {chain} of window {window} blew up: check the time step.")
    write_arrays(path, phi=torsion(frames, phi_atoms), psi=torsion(frames, psi_atoms))


def umbrella(
    system: MolecularSystem, out: str | Path, plan: UmbrellaPlan, jobs: int | None = None
) -> dict:
    """Run what is missing of the windows in a folder, and return the free energy of alpha-L.

    Parameters
    ----------
    system : MolecularSystem
        With exactly one phi and one psi.
    out : str or Path
        Folder for ``umbrella.json`` (provenance and result) and one file a chain. Chains that
        are there are not run again, so an interrupted run goes on by the same call.
    plan : UmbrellaPlan
    jobs : int, optional
        Processes; one per core by default.

    Returns
    -------
    dict
        The content of ``umbrella.json``; ``delta_f_alpha_l`` as `mbar.delta_f_alpha_l` returns it.

    Raises
    ------
    MolflowError
        If the folder holds another run or cannot be written, or a chain blows up.
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
    path = out / "umbrella.json"
    if path.exists():
        stored = read_json(path)
        if any(stored.get(key) != manifest[key] for key in ("ensemble_hash", "plan")):
            raise MolflowError(
                f"'{out}' holds an umbrella run of another ensemble or plan: choose another folder."
            )
    else:
        write_json(path, manifest)
    tasks = [(window, chain) for window in range(plan.windows) for chain in range(plan.chains)]
    files = {task: out / f"window-{task[0]:02d}-{task[1]}.npz" for task in tasks}
    missing = [task for task in tasks if not files[task].exists()]
    start = time.monotonic()
    jobs = number_of_jobs(jobs, len(missing))
    with ProcessPoolExecutor(jobs, mp_context=spawning, initializer=end_with_parent) as pool:
        with caller_not_rerun():
            running = [pool.submit(run_chain, system, plan, *task, files[task]) for task in missing]
        try:
            for count, finished in enumerate(as_completed(running), 1):
                finished.result()
                seconds = time.monotonic() - start
                print(f"{count} of {len(missing)} chains, {seconds:.0f} s", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    chains = [BiasedChain(task[0], **read_arrays(files[task])) for task in tasks]
    kt = thermal_energy(system.temperature)
    rng = np.random.default_rng(derive_seed(plan.seed, "bootstrap"))
    manifest["delta_f_alpha_l"] = delta_f_alpha_l(
        chains, plan.centres, plan.force_constant / kt, rng
    )
    manifest["chains"] = [_summary(plan, task, c) for task, c in zip(tasks, chains, strict=True)]
    write_json(path, manifest)
    return manifest


def _summary(plan: UmbrellaPlan, task: tuple[int, int], chain: BiasedChain) -> dict:
    return {
        "window": task[0],
        "chain": task[1],
        "centre": float(plan.centres[task[0]]),
        "mean_offset": float(np.mean(wrap(chain.phi - plan.centres[task[0]]))),
        "share_psi_alpha": float(np.mean(np.abs(wrap(chain.psi - np.deg2rad(-20))) < np.pi / 2)),
        "frames": len(chain.phi),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run ``python -m molflow.md.umbrella SYSTEM --out DIR``."""
    parser = argparse.ArgumentParser(prog="molflow.md.umbrella", description=__doc__)
    parser.add_argument("system")
    parser.add_argument("--out", required=True)
    parser.add_argument("--time", default="300ps", help="recorded time of each chain")
    parser.add_argument("--windows", type=int, default=UmbrellaPlan.windows)
    parser.add_argument("--chains", type=int, default=UmbrellaPlan.chains)
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    duration = parse_quantity(options.time, "time", "--time")
    plan = UmbrellaPlan(
        windows=options.windows, chains=options.chains, time=duration, seed=options.seed
    )
    result = umbrella(load_system(options.system), options.out, plan, options.jobs)
    free_energy = result["delta_f_alpha_l"]
    print(f"Delta F(alpha-L) = {free_energy['value']:.3f} +- {free_energy['error']:.3f} kT")


if __name__ == "__main__":
    # The workers look functions up by module, and to them `__main__` is another one.
    from molflow.md.umbrella import main as importable_main

    importable_main()
