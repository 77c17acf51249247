"""Files of other programs: formats, extra particles, files cut short, times, isomers of amides."""

import shutil
import warnings
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from synthetic import TOPOLOGY, trajectory

from molflow.analysis.features import features_of
from molflow.analysis.files.ensemble import interval_of, read_ensemble
from molflow.analysis.files.formats import COMPLETE, format_of, is_trajectory
from molflow.analysis.files.reference_file import reference_from_trajectory
from molflow.analysis.kinetics.frame_times import frame_times
from molflow.analysis.molecule.limits import limits_of
from molflow.analysis.molecule.stiff_bonds import isomer_torsions, stiff_torsions
from molflow.analysis.molecule.validity import check_validity
from molflow.comparison import compare
from molflow.errors import MolflowError
from molflow.slow_motions import kinetics
from molflow.trajectories import read_trajectory, write_trajectory

CASES = Path(__file__).parent.parent / "data" / "cases"


def judged(ensemble, against, **options):
    return compare(CASES / ensemble, CASES / against, exact_transport=False, jobs=1, **options)


def levels(result):
    checks = result["verdict"]["checks"]
    return {check["aspect"]: (check["level"], check["sentence"]) for check in checks}


def noted(notes, text):
    return any(text in note for note in notes)


def test_a_missing_isomer_of_an_amide_is_reported_with_its_share():
    result = judged("cis-trans/trans.xtc", "cis-trans/mixed.xtc")
    level, sentence = levels(result)["Torsions"]
    assert level == "bad" and "omega ALA2 near" in sentence and "instead of 40" in sentence


def test_an_isomer_that_the_reference_never_has_is_out_of_its_range():
    """Where the reference is always trans its limits speak, and no torsion is stored for them."""
    truth = reference_from_trajectory(CASES / "cis-trans" / "trans.xtc")
    assert not any(name.startswith("omega") for name in truth.torsion_names)
    mixed = reference_from_trajectory(CASES / "cis-trans" / "mixed.xtc")
    omega = mixed.torsions[:, mixed.torsion_names.index("omega ALA2")]
    found = check_validity(mixed.positions, features_of(truth, np.arange(22)).limits)
    assert np.array_equal(~found.passed["planarity"], np.abs(omega) < np.pi / 2)


def test_double_bonds_outside_rings_are_stiff():
    """2-butene and benzene, with bond orders."""
    made = mdtraj.Topology()
    chain = made.add_chain()
    carbon = mdtraj.element.carbon
    butene, ring = made.add_residue("BUT", chain), made.add_residue("BEN", chain)
    atoms = [made.add_atom(f"C{k}", carbon, butene) for k in range(4)]
    for k, order in enumerate((1, 2, 1)):
        made.add_bond(atoms[k], atoms[k + 1], order=order)
    atoms = [made.add_atom(f"C{k}", carbon, ring) for k in range(6)]
    for k in range(6):
        made.add_bond(atoms[k], atoms[(k + 1) % 6], order=1 + k % 2)
    assert stiff_torsions(made) == [(0, 1, 2, 3)]
    (only,) = isomer_torsions(made)
    assert only.name == "C0-C1-C2-C3 BUT0" and only.kind == "stiff"
    trans = np.zeros((30, 10, 3), np.float32)
    trans[:, :4, :2] = [[-0.2, 0.1], [-0.07, 0], [0.07, 0], [0.2, -0.1]]
    trans[:, 4:, 0] = 5 + 0.1 * np.arange(6)
    trans[:, :, 2] = np.random.default_rng(0).normal(0, 0.002, (30, 10))
    limits = limits_of(trans, made, [])
    cis = trans[:1].copy()
    cis[:, 3, 1] *= -1
    assert check_validity(trans, limits).passed["planarity"].all()
    assert not check_validity(cis, limits).passed["planarity"].any()


@pytest.mark.parametrize("name", ["e.ncdf", "e.hdf5", "e.pdb.gz"])
def test_formats_of_other_names_are_read(name):
    top = None if format_of(name) in COMPLETE else CASES / "cis-trans" / "topology.pdb"
    found = read_ensemble(CASES / "extensions" / name, top)
    first = read_ensemble(CASES / "extensions" / "e.ncdf", CASES / "cis-trans" / "topology.pdb")
    assert found.n == (40 if name == "e.ncdf" else 20) and found.topology.n_atoms == 22
    own, theirs = (np.concatenate([c.xyz for c in x.chunks(15)]) for x in (found, first))
    assert np.abs(own - theirs[: found.n]).max() < 1e-3


@pytest.mark.parametrize("suffix", [".mdcrd", ".xyz", ".xyz.gz", ".lammpstrj", ".netcdf", ".cif"])
def test_formats_that_mdtraj_writes_come_back(suffix, tmp_path):
    made, path = trajectory(3), tmp_path / f"made{suffix}"
    made.unitcell_lengths, made.unitcell_angles = np.full((3, 3), 4.0), np.full((3, 3), 90.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.save(str(path))
    made[0].save_pdb(str(tmp_path / "topology.pdb"))
    assert is_trajectory(path)
    found = read_ensemble(path, None)
    assert found.n == 3
    assert np.abs(np.concatenate([c.xyz for c in found.chunks(2)]) - made.xyz).max() < 1e-3


def test_particles_without_an_element_take_no_part():
    result = judged("extra-particles/a.h5", "extra-particles/b.h5")
    assert result["validity"]["wrong_hand"] == 0 and result["n_valid"] == result["n"]
    assert noted(result["notes"], "10 particles without an element (DCH3, DC, DO, DN and others)")
    assert [row["name"] for row in result["observables"]["torsions"]] == ["phi", "psi"]


def test_atoms_behind_extra_particles_are_read_from_their_own_places(tmp_path):
    """In a file without a topology, too, and in any order."""
    made = trajectory(4)
    top = mdtraj.Topology()
    chain, places = top.add_chain(), []
    for residue in TOPOLOGY.residues:
        copy = top.add_residue(residue.name, chain, residue.resSeq)
        for atom in residue.atoms:
            places.append(top.n_atoms)
            top.add_atom(atom.name, atom.element, copy)
            if atom.name == "O":
                top.add_atom("LP", mdtraj.element.virtual, copy)
    xyz = np.zeros((4, top.n_atoms, 3), np.float32)
    xyz[:, places] = made.xyz
    whole = mdtraj.Trajectory(xyz, top)
    whole.save_hdf5(str(tmp_path / "top.h5"))
    whole.save_dcd(str(tmp_path / "run.dcd"))
    for found in (
        read_ensemble(tmp_path / "run.dcd", tmp_path / "top.h5"), read_ensemble(whole, None)
    ):  # fmt: skip
        other, _ = found.in_order_of(TOPOLOGY)
        assert np.allclose(next(other.chunks(9)).xyz, made.xyz, atol=1e-5)
        turned = _with_first_atoms_exchanged(TOPOLOGY)
        other, _ = found.in_order_of(turned)
        assert np.allclose(next(other.chunks(9)).xyz[:, [1, 0]], made.xyz[:, :2], atol=1e-5)


def _with_first_atoms_exchanged(topology):
    made = topology.copy()
    first, second = made.atom(0), made.atom(1)
    first.name, second.name = second.name, first.name
    first.element, second.element = second.element, first.element
    return made


def test_beads_stay():
    top = mdtraj.Topology()
    residue = top.add_residue("MOL", top.add_chain())
    for k in range(3):
        top.add_atom(f"B{k}", None, residue)
    found = read_ensemble(mdtraj.Trajectory(np.zeros((2, 3, 3)), top), None)
    assert found.topology.n_atoms == 3 and not found.flaws


@pytest.mark.parametrize(
    ("name", "n", "words"),
    [("killed.dcd", 89, "of 150 frames, and it holds 89"), ("killed.xtc", 90, "the 90 whole ones")],
)
def test_files_cut_short_are_judged_on_their_whole_frames(name, n, words):
    found = read_ensemble(CASES / "truncated" / name, CASES / "cis-trans" / "topology.pdb")
    assert sum(len(part) for part in found.chunks(50)) == found.n == n
    (flaw,) = found.flaws
    assert "is incomplete" in flaw and words in flaw and flaw in found.notes


@pytest.mark.parametrize("suffix", [".dcd", ".xtc", ".trr"])
def test_every_cut_leaves_the_whole_frames(suffix, tmp_path):
    made, path = trajectory(6), tmp_path / f"run{suffix}"
    made.save(str(path))
    made[0].save_pdb(str(tmp_path / "topology.pdb"))
    data = path.read_bytes()
    assert not read_ensemble(path, None).flaws
    for share in (0.6, 0.97):
        path.write_bytes(data[: int(share * len(data))])
        found = read_ensemble(path, None)
        assert found.n == (5 if share > 0.9 else 3 if suffix == ".trr" else found.n) < 6
        assert len(found.flaws) == 1
        assert np.allclose(
            np.concatenate([c.xyz for c in found.chunks(2)]), made.xyz[: found.n], atol=1e-3
        )


def test_times_that_are_not_equally_spaced_are_no_series():
    folder = CASES / "uneven-times"
    uneven = reference_from_trajectory(folder / "uneven.xtc")
    even = read_ensemble(folder / "even.xtc", None)
    assert uneven.frame_interval_ps is None and even.frame_interval_ps == pytest.approx(0.2)
    times = [part.time for part in even.chunks(100)]
    for said in (0.2, None):
        found, (note,) = frame_times(even, times, uneven, said)
        assert "not equally spaced, so the order in time is not judged" in note
        assert (found is None) == (said is None)
    truth = reference_from_trajectory(folder / "even.xtc")
    assert truth.frame_interval_ps == 0.2
    for said in (0.2, None):
        found, notes = frame_times(even, times, truth, said)
        assert found.interval_ps == 0.2 and found.said == (said is not None) and not notes
    _, (note,) = frame_times(even, times, truth, 1.0)
    assert "taken to be 1 ps apart, as was said; the times in its file are 0.2 ps apart" in note


def test_the_interval_of_times():
    long = np.float32(0.2) * np.arange(0, 200_000, dtype=np.float32)  # as single precision has them
    assert interval_of(long) == 0.2
    assert interval_of([0, 1, 2, 4]) is None and interval_of([3, 2, 1]) is None
    assert interval_of([1.0]) is None


def test_kinetics_of_a_trajectory_of_ones_own(tmp_path):
    folder = CASES / "uneven-times"
    result = kinetics(folder / "even.xtc", tmp_path / "k", lag="1ps", states=5)
    assert result["runs"] == 1 and noted(result["notes"], "taken to be one run of plain dynamics")
    with pytest.raises(MolflowError, match="not equally spaced: kinetics need a series"):
        kinetics(folder / "uneven.xtc", tmp_path / "k2", lag="1ps")
    made = mdtraj.load(str(folder / "even.xtc"), top=str(folder / "topology.pdb"))
    made.save_dcd(str(tmp_path / "run.dcd"))
    top = folder / "topology.pdb"
    with pytest.raises(MolflowError, match="give it as frame_interval"):
        kinetics(tmp_path / "run.dcd", tmp_path / "k3", lag="1ps", top=top)
    again = kinetics(
        tmp_path / "run.dcd", tmp_path / "k4", lag="1ps", states=5, top=top, frame_interval="0.2ps"
    )
    assert again["length_ps"] == pytest.approx(80.0)
    with pytest.raises(MolflowError, match="0.2 ps apart by their own times"):
        kinetics(folder / "even.xtc", tmp_path / "k5", lag="1ps", frame_interval="1ps")


def test_paths_of_any_letters(tmp_path):
    folder = tmp_path / "läufe"
    folder.mkdir()
    made = trajectory(3)
    made[0].save_pdb(str(folder / "topology.pdb"))
    for suffix in (".dcd", ".xtc", ".h5"):
        path = folder / f"größe{suffix}"
        write_trajectory(path, made.xyz, TOPOLOGY)
        assert path.is_file() and not path.is_symlink()
        assert np.allclose(read_trajectory(path, TOPOLOGY).xyz, made.xyz, atol=1e-3)
        assert read_ensemble(path, None).n == 3
    assert len(list(folder.iterdir())) == 4  # and no temporary file
    made.save_trr(str(tmp_path / "run.trr"))
    shutil.move(tmp_path / "run.trr", folder / "lauf-ü.trr")
    assert read_ensemble(folder / "lauf-ü.trr", None).n == 3
