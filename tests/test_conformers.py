"""Conformers: populations by an independent count, symmetric atoms, weights, bond orders."""

import mdtraj
import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdMolTransforms
from typer.testing import CliRunner

from molflow import cli
from molflow.analysis.conformers import find_conformers
from molflow.analysis.molecule.bond_orders import drawn_molecule, with_bond_orders
from molflow.errors import MolflowError
from molflow.md.minimise import minimise
from molflow.ranked_conformers import conformers, for_small_molecules
from molflow.setup import understanding
from molflow.setup.init import init
from molflow.systems import load_system

SMILES = "CCCC"


@pytest.fixture(scope="module")
def butane(tmp_path_factory):
    """The system, and an ensemble with torsions and methyl groups turned as we like."""
    folder = tmp_path_factory.mktemp("butane")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(understanding, "fastest_platform", lambda _: ("CPU", {"CPU": 1000.0}))
        init(out=folder / "butane", smiles=SMILES, solvent="vacuum")
    drawn = Chem.MolFromMolFile(str(folder / "butane/molecule.sdf"), removeHs=False)
    rng, frames, angles = np.random.default_rng(0), [], []
    for _ in range(60):
        angle = rng.choice([180.0, 65.0, -65.0], p=[0.5, 0.3, 0.2]) + 12 * rng.standard_normal()
        conformer = drawn.GetConformer()
        rdMolTransforms.SetDihedralDeg(conformer, 0, 1, 2, 3, angle)
        for a, b, c, d in ((4, 0, 1, 2), (11, 3, 2, 1)):
            rdMolTransforms.SetDihedralDeg(conformer, a, b, c, d, 360 * rng.random())
        frames.append(0.1 * conformer.GetPositions())
        angles.append((angle + 180) % 360 - 180)
    made = load_system(folder / "butane")
    trajectory = mdtraj.Trajectory(np.array(frames), made.topology())
    trajectory.save(str(folder / "butane.dcd"))
    trajectory[0].save(str(folder / "topology.pdb"))
    return folder, np.array(angles)


def shares(angles, weights):
    wells = abs(angles) > 120, (angles > 0) & (angles < 120), (angles < 0) & (angles > -120)
    return sorted((weights[well].sum() / weights.sum() for well in wells), reverse=True)


def test_populations_are_those_of_the_torsion(butane, tmp_path):
    folder, angles = butane
    out = tmp_path / "a.sdf"
    found = conformers(folder / "butane.dcd", out, system=folder / "butane", progress=False)
    expected = shares(angles, np.ones(60))
    populations = [entry["population"] for entry in found["conformers"]]
    assert [p["value"] for p in populations] == pytest.approx(expected)
    for p in populations:  # half-widths of a binomial share of 60
        half = 1.96 * (p["value"] * (1 - p["value"]) / 60) ** 0.5
        assert 1.7 * half < p["high"] - p["low"] < 3 * half
    energies = [entry["free_energy"]["value"] for entry in found["conformers"]]
    exact = 8.31446261815324e-3 * 300 * np.log(expected[0] / np.array(expected))
    assert energies == pytest.approx(exact)
    written = list(Chem.SDMolSupplier(str(out), removeHs=False))
    assert len(written) == 3 and {Chem.MolToSmiles(Chem.RemoveHs(m)) for m in written} == {SMILES}
    assert [float(m.GetProp("population")) for m in written] == pytest.approx(expected, rel=1e-4)
    torsions = sorted(
        rdMolTransforms.GetDihedralDeg(m.GetConformer(), 0, 1, 2, 3) % 360 for m in written
    )
    assert torsions == pytest.approx([65, 180, 295], abs=3)  # gauche butane is near 65 degrees


def test_weights_count(butane, tmp_path):
    folder, angles = butane
    weights = np.where(abs(angles) > 120, 0.2, 1.0)
    expected = shares(angles, weights)
    for n, error in ((60, 1e-9), (30, 0.1)):  # all of them, and drawn by weight
        found = conformers(
            folder / "butane.dcd", tmp_path / "a.sdf", system=folder / "butane", weights=weights,
            n=n, energy_unit="kcal/mol", progress=False,
        )  # fmt: skip
        values = [entry["population"]["value"] for entry in found["conformers"]]
        assert values == pytest.approx(expected, abs=error) and found["weighted"]
    second = found["conformers"][1]["free_energy"]["value"]
    assert second == pytest.approx(1.987204e-3 * 300 * np.log(values[0] / values[1]), rel=1e-4)


def test_the_command_line_and_what_it_refuses(butane, tmp_path):
    folder, _ = butane

    def run(*words):
        words = ["conformers", folder / "butane.dcd", *words]
        return CliRunner().invoke(cli.app, [str(word) for word in words])

    own = ["--system", folder / "butane", "--out", tmp_path / "c.sdf", "-n", "10"]
    result = run(*own)
    assert result.exit_code == 0, result.stderr
    assert "conformers of 10 conformations" in result.stdout
    assert run(*own).exit_code == 0  # replaces what it wrote
    (tmp_path / "mine.sdf").write_text("mine")
    for words, message in (
        ([*own[:2], "--out", tmp_path / "c.pdb"], "are written as .sdf"),
        ([*own[:2], "--out", tmp_path / "mine.sdf"], "is no list of conformers"),
        (["--out", tmp_path / "d.sdf"], "give --system"),
        ([*own, "--molecule", "CCCCC"], "is not that of the ensemble"),
        ([*own, "--molecule", "C(C"], "cannot be read: give a SMILES"),
        ([*own, "--molecule", "a.sdf"], "which is not there"),
        ([*own, "--rmsd", "0A"], "give a distance above 0"),
        ([*own, "--energy-unit", "hartree"], "choose kJ/mol or kcal/mol"),
        (["--system", "alanine_dipeptide:heavy", "--out", tmp_path / "d.sdf"], "has no energy"),
    ):
        result = run(*words)
        assert result.exit_code == 2 and message in result.stderr, result.stderr
        assert not (tmp_path / "d.sdf").exists()


def test_small_molecules_of_a_run_and_time_that_ends(butane, tmp_path, monkeypatch):
    folder, _ = butane
    made = load_system(folder / "butane")
    options = folder / "butane.dcd", tmp_path / "a.sdf"
    found = for_small_molecules(made, *options, 0.0, False)
    assert found["notes"] == [
        "There are no conformers: no conformation came down to its minimum in the 0 s that there "
        "were: give more time."
    ]  # fmt: skip
    ends = iter([True, True, False])
    with monkeypatch.context() as patch:
        patch.setattr("molflow.md.minimise.minimise", lambda *_: minimise(*_) and next(ends))
        found = for_small_molecules(made, *options, 60.0, False)
    assert found["n"] == 2 and "58 conformations were not reached" in found["notes"][0]
    for name in ("alanine_dipeptide:heavy", "chignolin"):
        assert for_small_molecules(load_system(name), *options, 1.0, False) is None
    found = for_small_molecules(load_system("aspirin"), *options, 1.0, False)
    assert found["notes"][0].startswith("There are no conformers: ")


def minima(smiles, seeds=(1,)):
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    positions = []
    for seed in seeds:
        assert rdDistGeom.EmbedMolecule(molecule, randomSeed=seed) == 0
        positions.append(0.1 * molecule.GetConformer().GetPositions())
    return molecule, np.array(positions)


def count(molecule, positions):
    found = find_conformers(molecule, positions, np.arange(len(positions)), 0.01)
    assert sum(c.population for c in found) == pytest.approx(1)
    return len(found)


def test_flipped_rings_and_turned_methyl_groups_are_no_other_conformer():
    """Labels of alike atoms exchanged in every way that the molecule has."""
    molecule, (start,) = minima("Cc1ccc(cc1)C(C)(C)O")
    whole = molecule.GetSubstructMatches(molecule, uniquify=False, maxMatches=10000)
    chosen = [whole[k] for k in np.random.default_rng(0).integers(len(whole), size=12)]
    turned = np.array([start[list(match)] for match in chosen])
    assert len({row.tobytes() for row in turned}) > 5
    assert count(molecule, turned) == 1
    # Carboxylate oxygens are alike; those of an acid are not.
    for smiles, expected in (("CCC(=O)[O-]", 1), ("CCC(=O)O", 2)):
        molecule, (start,) = minima(smiles)
        oxygens = [a.GetIdx() for a in molecule.GetAtoms() if a.GetSymbol() == "O"]
        swapped = start.copy()
        swapped[oxygens] = start[oxygens[::-1]]
        assert count(molecule, np.array([start, swapped])) == expected


def test_mirror_images_are_two():
    molecule, (start,) = minima("CCCC")
    rdMolTransforms.SetDihedralDeg(molecule.GetConformer(), 0, 1, 2, 3, 65.0)
    gauche = 0.1 * molecule.GetConformer().GetPositions()
    assert count(molecule, np.array([gauche, gauche * [1, 1, -1], gauche])) == 2


@pytest.mark.parametrize("given", [None, "OC(=O)c1ccccc1OC(C)=O"])
def test_bond_orders(given):
    """From valences, and from a SMILES whose atoms are in another order."""
    topology = load_system("aspirin").topology()
    drawn = None if given is None else drawn_molecule(given)
    made = with_bond_orders(topology, drawn)
    assert Chem.MolToSmiles(Chem.RemoveHs(made)) == "CC(=O)Oc1ccccc1C(=O)O"
    symbols = [atom.element.symbol for atom in topology.atoms]
    assert [atom.GetSymbol() for atom in made.GetAtoms()] == symbols


def test_bond_orders_need_all_atoms():
    with pytest.raises(MolflowError, match="an ensemble with all atoms"):
        topology = load_system("alanine_dipeptide:heavy").topology()
        with_bond_orders(topology)
