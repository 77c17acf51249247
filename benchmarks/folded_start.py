"""Fold chignolin by hand: a hairpin as a start for dynamics.

    python benchmarks/folded_start.py --out folded.pdb

The shipped structure is extended, and folding takes longer than any run here. Torsions of the
strands and of the turn, a hairpin's four-residue loop, and the contacts that the protein is known
for (hydrogen bonds Asp3-Thr8, Gly7-Asp3, Gly10-Gly1; Tyr2 by Trp9) are pulled to where a hairpin
has them, from hot to cold, and the pull is switched off again. What then stays is the force
field's own. Prints contacts, torsions and whether every residue is L.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from openmm import app, unit

from molflow.analysis.molecule.stereo import handedness, stereocentres
from molflow.md.build import build
from molflow.md.platforms import find_platform
from molflow.md.torsions import torsion
from molflow.systems import load_system
from molflow.trajectories import write_trajectory

#: phi and psi of residues, degrees: strands, and a loop of the kinds αR, αR, γR, αL.
TARGETS = {
    1: (None, 150), 2: (-120, 140), 3: (-90, 110), 4: (-60, -30), 5: (-60, -30), 6: (-90, 0),
    7: (85, 10), 8: (-120, 140), 9: (-120, 140), 10: (-120, None),
}  # fmt: skip
#: Atoms that are pulled below a distance in nm.
CONTACTS = [
    ((3, "N"), (8, "O"), 0.29), ((7, "N"), (3, "O"), 0.30), ((8, "N"), (3, "O"), 0.32),
    ((10, "N"), (1, "O"), 0.30), ((1, "N"), (10, "O"), 0.32), ((2, "CZ"), (9, "CD2"), 0.45),
]  # fmt: skip
#: Temperatures in K while the pull is on, and ps at each of them; then ps without it at 300 K.
ANNEALING, PS, FREE = (700.0, 600.0, 500.0, 400.0, 350.0, 300.0), 10.0, 20.0


def restraints(topology: mdtraj.Topology) -> list[openmm.Force]:
    """Return the forces that pull; both scale with a global parameter ``pull``."""
    at = {(a.residue.index + 1, a.name): a.index for a in topology.atoms}
    far = openmm.CustomBondForce("pull*0.5*2000*step(r-d)*min(r-d,0.3)*max(r-d,0.3)")
    far.addPerBondParameter("d")
    for one, other, distance in CONTACTS:
        far.addBond(at[one], at[other], [distance])
    bent = openmm.CustomTorsionForce("pull*80*(1-cos(theta-t))")
    bent.addPerTorsionParameter("t")
    for residue, (phi, psi) in TARGETS.items():
        named = {
            "phi": (phi, ((residue - 1, "C"), (residue, "N"), (residue, "CA"), (residue, "C"))),
            "psi": (psi, ((residue, "N"), (residue, "CA"), (residue, "C"), (residue + 1, "N"))),
        }
        for degrees, atoms in named.values():
            if degrees is not None:
                bent.addTorsion(*(at[atom] for atom in atoms), [np.radians(degrees)])
    for force in (far, bent):
        force.addGlobalParameter("pull", 1.0)
    return [far, bent]


def fold(seed: int, platform: str) -> tuple[np.ndarray, mdtraj.Topology]:
    """Return positions in nm, (1, atoms, 3), of a hairpin, and its topology."""
    system = load_system("chignolin")
    built, openmm_topology = build(system)
    for force in restraints(system.topology()):
        built.addForce(force)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 5.0, 0.001)
    integrator.setRandomNumberSeed(seed)
    simulation = app.Simulation(openmm_topology, built, integrator, *find_platform(platform))
    context = simulation.context
    context.setPositions(system.start_positions())
    simulation.minimizeEnergy(maxIterations=300)
    for temperature in ANNEALING:
        integrator.setTemperature(temperature)
        context.setVelocitiesToTemperature(temperature, seed)
        simulation.step(round(1e3 * PS))
        print(f"{temperature:.0f} K", flush=True)
        describe(context, system.topology())
    for pull in (0.3, 0.1, 0.0):
        context.setParameter("pull", pull)
        simulation.step(round(1e3 * FREE / 3))
        print("pull", pull, flush=True)
        describe(context, system.topology())
    simulation.minimizeEnergy()
    found = context.getState(positions=True).getPositions(asNumpy=True)
    return found.value_in_unit(unit.nanometer)[None], system.topology()


def describe(context: openmm.Context, topology: mdtraj.Topology) -> None:
    """Print contacts in nm and torsions in degrees."""
    x = context.getState(positions=True).getPositions(asNumpy=True)
    x = x.value_in_unit(unit.nanometer)
    at = {(a.residue.index + 1, a.name): a.index for a in topology.atoms}
    contacts = [f"{np.linalg.norm(x[at[a]] - x[at[b]]):.2f}" for a, b, _ in CONTACTS]
    print("  contacts", *contacts, flush=True)
    told = []
    for k in range(2, 10):
        phi = [at[k - 1, "C"], at[k, "N"], at[k, "CA"], at[k, "C"]]
        psi = [at[k, "N"], at[k, "CA"], at[k, "C"], at[k + 1, "N"]]
        told.append("/".join(f"{np.degrees(torsion(x[None], t)[0]):.0f}" for t in (phi, psi)))
    omega = [at[3, "CA"], at[3, "C"], at[4, "N"], at[4, "CA"]]
    print(
        "  phi/psi 2-9", *told, f"omega4 {np.degrees(torsion(x[None], omega)[0]):.0f}", flush=True
    )


def main() -> None:
    """Fold, say what came of it, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="a PDB file")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--platform", default="CPU")
    options = parser.parse_args()
    x, topology = fold(options.seed, options.platform)
    centres = stereocentres(topology)
    hands = [handedness(y, centres) for y in (x, load_system("chignolin").start_positions()[None])]
    print(
        f"{len(centres)} stereocentres, as in the structure: {bool(np.all(hands[0] == hands[1]))}"
    )
    write_trajectory(options.out, x, topology)


if __name__ == "__main__":
    main()
