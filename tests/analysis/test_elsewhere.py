"""Ensembles and references that molflow did not make."""

import json

import mdtraj
import numpy as np
import pytest
from molecules import chain, write_prmtop, write_psf, zigzag
from synthetic import SYSTEM, TOPOLOGY, reference, trajectory
from typer.testing import CliRunner

from molflow.analysis.files.atom_matching import match_atoms
from molflow.analysis.files.ensemble import read_ensemble
from molflow.analysis.torsions import phi_psi
from molflow.cli import app
from molflow.comparison import compare
from molflow.errors import MolflowError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    reference(frames=900).save(folder / "ref")
    made = trajectory(150, seed=9)
    made.time = 2.0 * np.arange(150)
    made.save_dcd(str(folder / "a.dcd"))
    made.save_xtc(str(folder / "a.xtc"))
    made[0].save_gro(str(folder / "a.gro"))
    made.save_pdb(str(folder / "models.pdb"))
    write_psf(folder / "a.psf", TOPOLOGY)
    write_prmtop(folder / "a.prmtop", TOPOLOGY)
    return folder


def scored(folder, name, top, **options):
    top = None if top is None else folder / top
    return compare(folder / name, folder / "ref", top=top, exact_transport=False, **options)


@pytest.mark.parametrize(
    ("name", "top", "rounding"),
    [("a.dcd", "a.psf", 1e-4), ("a.dcd", "a.prmtop", 1e-4), ("a.xtc", "a.gro", 0.03),
     ("models.pdb", None, 0.03)],
)  # fmt: skip
def test_files_of_other_programs_give_the_torsions_that_were_built_in(folder, name, top, rounding):
    given = read_ensemble(folder / name, None if top is None else folder / top)
    assert given.n == 150
    expected = phi_psi(trajectory(150, seed=9))
    joined = mdtraj.join([part for part in given.chunks(64)])
    difference = phi_psi(mdtraj.Trajectory(joined.xyz, TOPOLOGY)) - expected
    assert np.abs(np.angle(np.exp(1j * difference))).max() < rounding
    result = scored(folder, name, top)
    assert result["n_valid"] == 150 and result["metrics"]["fes_rmse"]["n_model"] == 150
    assert "energy_w1" in result["metrics"]


def test_psf_and_prmtop_bring_the_bonds(folder):
    for name in ("a.psf", "a.prmtop"):
        topology = mdtraj.load_topology(str(folder / name))
        assert {frozenset((a.index, b.index)) for a, b in topology.bonds} == {
            frozenset((a.index, b.index)) for a, b in TOPOLOGY.bonds
        }


def test_residues_may_be_numbered_from_elsewhere():
    moved = TOPOLOGY.copy()
    for residue in moved.residues:
        residue.resSeq += 41
    assert np.array_equal(match_atoms(moved, TOPOLOGY), np.arange(22))
    part = moved.subset([4, 6, 8, 10, 14, 16])
    assert np.array_equal(match_atoms(part, TOPOLOGY), [4, 6, 8, 10, 14, 16])


def test_times_are_read_where_the_file_has_them(folder):
    assert read_ensemble(folder / "a.xtc", folder / "a.gro").frame_interval_ps == 2.0
    assert read_ensemble(folder / "a.dcd", folder / "a.psf").frame_interval_ps is None


@pytest.mark.parametrize("suffix", [".h5", ".dcd", ".xtc", ".pdb"])
def test_any_trajectory_is_a_reference(folder, tmp_path, suffix):
    made = trajectory(400, seed=21)
    made.time = 5.0 * np.arange(400)
    made.save(str(tmp_path / f"md{suffix}"))
    made[0].save_pdb(str(folder / "a.pdb"))
    result = compare(
        folder / "a.xtc", tmp_path / f"md{suffix}", top=folder / "a.pdb", exact_transport=False
    )
    assert result["metrics"]["fes_rmse"]["n_reference"] == 400
    assert "energy_w1" not in result["metrics"] and "halvings" in result["floor"]
    assert result["verdict"]["level"] != "bad"
    levels = {check["aspect"]: check["level"] for check in result["verdict"]["checks"]}
    assert levels["Energies"] == "unknown" and levels["Validity and chirality"] == "good"
    row = result["metrics"]["fes_rmse"]
    assert abs(row["excess"]) < row["interval"][1] - row["value"] + 0.3 * row["floor"]
    json.dumps(result, allow_nan=False)


def test_a_named_system_gives_energies_to_a_reference_file(folder, tmp_path):
    from molflow.md.energies import potential_energies

    made = trajectory(60, seed=21)
    made.save_dcd(str(tmp_path / "md.dcd"))
    made[0].save_pdb(str(tmp_path / "topology.pdb"))
    result = compare(
        folder / "a.dcd", tmp_path / "md.dcd", top=folder / "a.psf", system=SYSTEM.name,
        exact_transport=False, jobs=1,
    )  # fmt: skip
    exact = potential_energies(SYSTEM, made.xyz) / (8.31446261815324e-3 * 300)
    found = result["observables"]["energy"]["reference"]
    assert found["mean"] == pytest.approx(exact.mean(), rel=1e-5)
    assert result["reference"]["ensemble_hash"] == SYSTEM.ensemble_hash


def test_what_makes_no_sense_is_refused(folder, tmp_path):
    with pytest.raises(MolflowError, match="leave out system"):
        compare(folder / "a.dcd", folder / "ref", top=folder / "a.psf", system=SYSTEM.name)
    broken = trajectory(5)
    broken.xyz[3, 4] = np.nan
    broken.save(str(tmp_path / "md.h5"))
    with pytest.raises(MolflowError, match="1 frames with positions that are not finite"):
        compare(folder / "a.dcd", tmp_path / "md.h5", top=folder / "a.psf")
    with pytest.raises(MolflowError, match="PSF, PRMTOP"):
        compare(folder / "a.dcd", folder / "ref")
    (tmp_path / "bad.psf").write_text("nonsense\n")
    with pytest.raises(MolflowError, match="cannot be read"):
        compare(folder / "a.dcd", folder / "ref", top=tmp_path / "bad.psf")


def test_water_and_molecules_cut_by_a_box_are_refused(folder, tmp_path):
    made = trajectory(5)
    cut = made.xyz.copy()
    cut[:, 16:] += np.array([3.0, 0, 0], np.float32)
    mdtraj.Trajectory(cut, TOPOLOGY).save(str(tmp_path / "cut.h5"))
    with pytest.raises(MolflowError, match="make_molecules_whole"):
        compare(folder / "a.dcd", tmp_path / "cut.h5", top=folder / "a.psf")
    wet = TOPOLOGY.copy()
    water = wet.add_residue("HOH", wet.add_chain())
    wet.add_atom("O", mdtraj.element.oxygen, water)
    xyz = np.concatenate([made.xyz, made.xyz[:, :1] + 1], axis=1)
    mdtraj.Trajectory(xyz, wet).save(str(tmp_path / "wet.h5"))
    with pytest.raises(MolflowError, match="1 water molecules"):
        compare(folder / "a.dcd", tmp_path / "wet.h5", top=folder / "a.psf")


def test_atom_names_need_not_be_unique_where_all_agree():
    same = chain("CCCC", names=["C", "C", "C", "C"])
    assert np.array_equal(match_atoms(same, same.copy()), np.arange(4))


def hexane_torsions(n, seed, gauche=0.4):
    rng = np.random.default_rng(seed)
    well = rng.choice([np.pi, 1.15, -1.15], size=(n, 3), p=[1 - gauche, gauche / 2, gauche / 2])
    well[:, 2] = np.where(rng.random(n) < 0.5, well[:, 2], np.pi)
    return well + rng.normal(scale=0.15, size=well.shape)


@pytest.fixture(scope="module")
def hexane(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hexane")
    topology = chain("CCCCCC")
    for name, seed, gauche in (("md", 1, 0.4), ("good", 2, 0.4), ("trans", 3, 0.0)):
        made = mdtraj.Trajectory(zigzag(hexane_torsions(1200, seed, gauche), seed=seed), topology)
        made.save(str(folder / f"{name}.h5"))
    made[0].save_pdb(str(folder / "hexane.pdb"))
    return folder


def test_a_general_molecule_is_judged_by_its_rotatable_bonds(hexane):
    result = compare(
        hexane / "good.h5", hexane / "md.h5", hexane / "report.html", exact_transport=False
    )
    names = [row["name"] for row in result["observables"]["torsions"]]
    assert names == ["C1-C2-C3-C4 LIG1", "C2-C3-C4-C5 LIG1", "C3-C4-C5-C6 LIG1"]
    assert "fes_rmse" not in result["metrics"] and "torsion_js_distance" in result["metrics"]
    assert result["verdict"]["level"] == "good", result["verdict"]
    assert len(result["observables"]["torsions"][0]["wells"]) == 3
    page = (hexane / "report.html").read_text()
    assert "Profiles of the worst torsions" in page and "αL" not in page


def test_missing_wells_of_a_general_molecule_are_named(hexane):
    result = compare(hexane / "trans.h5", hexane / "md.h5", exact_transport=False)
    (check,) = [c for c in result["verdict"]["checks"] if c["aspect"] == "Torsions"]
    assert check["level"] == "bad" and "C1-C2-C3-C4 LIG1 near" in check["sentence"]
    assert result["verdict"]["level"] == "bad"


def test_command_line_takes_any_reference(hexane):
    made = mdtraj.load(str(hexane / "good.h5"))
    made.save_xtc(str(hexane / "good.xtc"))
    done = CliRunner().invoke(
        app,
        ["compare", str(hexane / "good.xtc"), "--top", str(hexane / "hexane.pdb"), "--reference",
         str(hexane / "md.h5"), "--no-transport", "--offenders", str(hexane / "bad.dcd")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "torsion_misplaced_worst" in done.output and (hexane / "bad.csv").is_file()
