"""Every kind of molecule, by the command line: from `init` to `kinetics`.

Maps are trained for a few steps only: what is tested is that each verb knows what the molecule has
and has not, and that samples which are no good are never called so.
"""

import shlex
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit
from typer.testing import CliRunner

import molflow
from molflow import cli
from molflow.analysis.molecule.stereo import handedness, stereocentres
from molflow.analysis.torsion_list import torsion_list
from molflow.files import read_json
from molflow.setup import understanding
from molflow.setup.peptides import build_peptide
from molflow.step_study import pieces
from molflow.systems import load_system

#: How a molecule is brought, with files of `structures`; how many atoms, torsions and stereocentres
#: it has, and the kinds of torsions.
KINDS = {
    "water": ("--smiles O --solvent vacuum", 3, 0, 0, set()),
    "butane": ("--smiles CCCC --solvent vacuum", 14, 1, 0, {"bond"}),
    "mirrored": ("{}/mirrored.pdb --solvent vacuum", 22, 2, 1, {"phi", "psi"}),
    "cyclohexane": ("--smiles C1CCCCC1 --solvent vacuum", 18, 6, 0, {"ring"}),
    "cystine": ("{}/cystine.pdb --solvent vacuum", 44, 9, 2, {"phi", "psi", "chi1", "disulfide"}),
    "thirty": ("--system-xml {}/chain.xml --structure {}/chain.pdb", 35, 30, 0, {"bond"}),
}
TINY = (
    "steps=6 steps_per_epoch=3 batch_size=4 network.scalars=8 network.vectors=4 network.heads=2 "
    "network.layers=1 network.pair_width=4 objective.local_steps=3 learning_rate_warmup=2 "
    "learning_rate_decay=3 validate_every=2 validation_samples=64 validation_nfe=[1]"
)
FRAMES, SAMPLES, REPLICAS = 60, 64, 3


def type_in(words, status=0):
    """Type a command, and return what it printed."""
    result = CliRunner().invoke(cli.app, shlex.split(words))
    assert result.exit_code == status, f"{words}\n{result.output}\n{result.exception}"
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.output


def mirrored(path):
    """Write alanine dipeptide of the other hand."""
    frame = mdtraj.load(str(load_system("alanine_dipeptide").structure_path))
    frame.xyz[..., 2] *= -1
    frame.save_pdb(str(path))


def cystine(path):
    """Write two capped cysteines that a disulfide joins, one the other turned by half a circle."""
    made = build_peptide("ACE-CYS-NME")
    atoms = [atom for atom in made.topology.atoms() if atom.name != "HG"]
    place = {atom.name: k for k, atom in enumerate(atoms) if atom.residue.name == "CYS"}
    x = made.positions[[atom.index for atom in atoms]]
    x = x - x[place["SG"]]
    # The turn is about z, half a bond from the sulphur: CB-SG-SG is 104 degrees then, and the
    # torsion about SG-SG 90; about CB-SG it is turned until nothing is close.
    bend, half = np.radians(104), np.radians(45)
    out = np.array([-np.cos(bend), np.sin(bend) * np.cos(half), np.sin(bend) * np.sin(half)])
    side = np.array([0, -np.sin(half), np.cos(half)])
    own = axes(x[place["CB"]], x[place["CA"]])
    best, closest = None, 0.0
    for turn in np.radians(np.arange(0, 360, 30)):
        there = axes(out, np.cos(turn) * side + np.sin(turn) * np.cross(out, side))
        y = x @ own @ there.T + np.array([0.1025, 0, 0])
        both = np.stack([y, y * [-1, -1, 1]])
        apart = np.linalg.norm(both[0][:, None] - both[1], axis=-1)
        apart[place["SG"], place["SG"]] = np.inf
        if apart.min() > closest:
            best, closest = both, apart.min()
    topology = app.Topology()
    for name in "AB":
        chain, new = topology.addChain(name), {}
        for atom in atoms:
            if atom.residue.index not in new:
                new[atom.residue.index] = topology.addResidue(atom.residue.name, chain)
            topology.addAtom(atom.name, atom.element, new[atom.residue.index])
    with open(path, "w", encoding="utf-8") as file:
        app.PDBFile.writeFile(topology, best.reshape(-1, 3) * unit.nanometer, file)


def axes(first, second):
    """Return right-handed axes, the columns: the first, and the second as far as it is upright."""
    first = first / np.linalg.norm(first)
    second = second - (second @ first) * first
    second = second / np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)], axis=1)


def chain(path):
    """Write HS33H and its System: bonds and angles that vibrate, and torsions that like 90."""
    count, length, bend = 35, 0.206, np.radians(106)
    x = [np.zeros(3), np.array([length, 0, 0])]
    x.append(x[1] + length * np.array([-np.cos(bend), np.sin(bend), 0]))
    while len(x) < count:  # each at 90 degrees to those before
        there = axes(x[-1] - x[-2], x[-3] - x[-2])
        x.append(x[-1] + length * there @ [-np.cos(bend), 0, np.sin(bend)])
    topology, system = app.Topology(), openmm.System()
    residue = topology.addResidue("MOL", topology.addChain())
    elements = [app.element.hydrogen, *[app.element.sulfur] * (count - 2), app.element.hydrogen]
    made = [topology.addAtom(f"{e.symbol}{k}", e, residue) for k, e in enumerate(elements)]
    for element in elements:
        system.addParticle(element.mass)
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    torsions = openmm.PeriodicTorsionForce()
    for k in range(count - 1):
        topology.addBond(made[k], made[k + 1])
        bonds.addBond(k, k + 1, length, 1e5)
    for k in range(count - 2):
        angles.addAngle(k, k + 1, k + 2, bend, 500.0)
    for k in range(count - 3):
        torsions.addTorsion(k, k + 1, k + 2, k + 3, 2, 0.0, 10.0)
    for force in (bonds, angles, torsions):
        system.addForce(force)
    path.with_suffix(".xml").write_text(openmm.XmlSerializer.serialize(system))
    with open(path, "w", encoding="utf-8") as file:
        app.PDBFile.writeFile(topology, np.array(x) * unit.nanometer, file)


@pytest.fixture(scope="module")
def structures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("structures")
    mirrored(folder / "mirrored.pdb")
    cystine(folder / "cystine.pdb")
    chain(folder / "chain.pdb")
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Nothing is timed, and studies are small."""
    monkeypatch.setattr(understanding, "fastest_platform", lambda _: ("CPU", {"CPU": 1000.0}))
    monkeypatch.setattr(pieces, "SAME_PATH_N", 8)
    monkeypatch.setattr(pieces, "FINEST", 4)


@pytest.mark.parametrize("name", KINDS)
def test_from_init_to_kinetics(name, structures, tmp_path, monkeypatch):
    given, atoms, count, centres, kinds = KINDS[name]
    monkeypatch.chdir(tmp_path)
    said = type_in(f"init {given.format(structures, structures)} --out {name}")
    assert ("CYS2-CA of chain B" in said) == (name == "cystine")
    words = "no torsion\n" if not count else f"{count} torsion"
    assert f"{name}: {atoms} atoms" in said and words in said
    system = load_system(name)
    topology = system.topology()
    torsions = torsion_list(topology)
    assert {torsion.kind for torsion in torsions} == kinds and len(torsions) == count
    chiral = stereocentres(topology)
    assert len(chiral) == centres
    hand = np.sign(handedness(system.start_positions()[None], chiral))
    assert (hand == (1 if name == "mirrored" else -1)).all()

    said = type_in(
        f"simulate {name} --time {FRAMES}0fs --frame-interval 10fs --equilibration 20fs "
        f"--replicas {REPLICAS} --platform Reference --jobs 1 --out md"
    )
    assert "60 held-out frames are few" in said
    assert "60 training frames are few" in type_in("prepare md --out data")
    run = read_json(Path("md/simulation.json"))["runs"]
    assert [entry["frames"] for entry in run] == [FRAMES] * REPLICAS

    type_in(f"train {name} --data data --out run --quiet {TINY}")
    header = Path("run/metrics.csv").read_text(encoding="utf-8").splitlines()[0]
    assert ("val/torsion_js_distance@1" in header) == (count > 0)
    assert ("val/distance_w1@1" in header) == (count == 0)
    type_in(f"sample run --steps 2 -n {SAMPLES} --out samples/ensemble.dcd --quiet")
    drawn = mdtraj.load("samples/ensemble.dcd", top="samples/topology.pdb")
    assert drawn.xyz.shape == (SAMPLES, atoms, 3) and drawn.topology.n_bonds == topology.n_bonds

    said = type_in("compare samples/ensemble.dcd --reference md --out report.html")
    assert said.startswith("Do not trust this ensemble")
    found = read_json(Path("metrics.json"))
    assert found["verdict"]["level"] == "bad"
    assert ("torsion_misplaced_worst" in found["metrics"]) == (count > 0)
    assert ("fes_rmse" in found["metrics"]) == ("phi" in kinds)
    assert {"bond_w1", "angle_w1", "energy_w1"} <= found["metrics"].keys()
    # The dynamics that were held out are of the right hand and whole.
    own = molflow.compare("md/replica-2.dcd", "md", exact_transport=False)
    sentences = [row["sentence"] for row in own["verdict"]["checks"] if row["level"] == "good"]
    assert any(sentence.startswith("60 of 60 samples are valid") for sentence in sentences)

    type_in("check run --steps 2 -n 16 --jobs 1 --quiet --out check.json", 1 if centres else 0)
    checked = {row["name"]: row for row in read_json(Path("check.json"))["findings"]}
    assert checked["equivariance"]["verdict"] == "pass"
    assert checked["chirality"]["verdict"] == ("fail" if centres else "inconclusive")

    words = "kinetics md --lag 10fs --states 3 --out kinetics"
    if count:
        assert "The memory of" in type_in(words)
        memory = read_json(Path("kinetics/kinetics.json"))["torsion_memory"]
        assert list(memory) == [torsion.name for torsion in torsions]
    else:
        assert "has no torsion" in type_in(words, 2)

    if name not in ("water", "cystine"):  # nothing else is in a study than in these
        return
    type_in("study run --reference md --steps 1,2 -n 64 --seeds 1 --out study --quiet")
    quality = read_json(Path("study/study.json"))["summary"]["quality"]
    assert quality["2"]["valid"] == found["validity"]["valid"] / SAMPLES
