"""Put alanine dipeptide into a box of water: writes solvated.pdb. Run it in this folder."""

import openmm
from openmm import app, unit

pdb = app.PDBFile("../alanine_dipeptide_amber14/structure.pdb")
field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
model = app.Modeller(pdb.topology, pdb.positions)
model.addSolvent(field, boxSize=openmm.Vec3(2.0, 2.0, 2.0) * unit.nanometer)
system = field.createSystem(
    model.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.9 * unit.nanometer,
    constraints=app.HBonds,
)
platform = openmm.Platform.getPlatformByName("CPU")
simulation = app.Simulation(
    model.topology, system, openmm.LangevinMiddleIntegrator(300, 1.0, 0.002), platform
)
simulation.context.setPositions(model.positions)
simulation.minimizeEnergy(tolerance=1.0, maxIterations=2000)
positions = simulation.context.getState(positions=True).getPositions()
with open("solvated.pdb", "w") as file:
    app.PDBFile.writeFile(model.topology, positions, file)
