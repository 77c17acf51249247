"""A second case of each kind of file that failed once: other molecules, formats and defects."""

import os
import shutil
import warnings
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import yaml
from molecules import chain, zigzag
from synthetic import SYSTEM, TOPOLOGY, conformations, torsion_samples, trajectory
from typer.testing import CliRunner

from molflow.analysis.files.ensemble import read_ensemble
from molflow.analysis.files.reference_file import reference_from_trajectory
from molflow.analysis.molecule.graph import neighbours, with_bonds
from molflow.analysis.molecule.stereo import handedness, shown_stereocentres
from molflow.analysis.soundness import check_soundness
from molflow.analysis.torsion_list import residue_labels, torsion_list
from molflow.cli import app
from molflow.comparison import compare
from molflow.errors import MolflowError
from molflow.slow_motions import kinetics
from molflow.systems import load_system

CASES = Path(__file__).parent.parent / "data" / "cases"
HEAVY = [atom.index for atom in TOPOLOGY.atoms if atom.element.symbol != "H"]


def judged(one, other, **options):
    return compare(one, other, exact_transport=False, jobs=1, **options)


def levels(result):
    return {c["aspect"]: (c["level"], c["sentence"]) for c in result["verdict"]["checks"]}


def given(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def written(folder, name, made, top="topology.pdb"):
    """Write a trajectory and its topology, return its path."""
    made[0].save_pdb(str(folder / top))
    made.save(str(folder / name))
    return folder / name


def test_atoms_that_the_reference_lacks_are_a_sentence(tmp_path):
    """CA alone on the other side (ca-only)."""
    ca = written(tmp_path, "ca.xtc", trajectory(80).atom_slice([8]), "ca.pdb")
    run = written(tmp_path, "run.xtc", trajectory(80, seed=2))
    with pytest.raises(MolflowError, match="21 of the ensemble's are not in the reference"):
        judged(run, ca, reference_top=tmp_path / "ca.pdb")


def test_a_missing_isomer_of_a_double_bond_is_reported(tmp_path):
    """Of carbon in a ligand, in a file that has no orders of bonds (cis-trans)."""
    cis = np.random.default_rng(0).random(100) < 0.4
    for name, torsions in (("md", np.where(cis, 0, np.pi)), ("run", np.full(100, np.pi))):
        written(
            tmp_path, f"{name}.dcd", mdtraj.Trajectory(zigzag(torsions[:, None]), chain("CCCC"))
        )
    level, sentence = levels(judged(tmp_path / "run.dcd", tmp_path / "md.dcd"))["Torsions"]
    assert level == "bad" and "C1-C2-C3-C4 LIG1 near" in sentence


def test_a_ring_that_no_record_closes_is_closed_by_its_geometry(tmp_path):
    """The same cyclic peptide without CONECT (cyclic-peptide)."""
    text = (CASES / "cyclic-peptide/topology.pdb").read_text().splitlines()
    open_ = "\n".join(line for line in text if not line.startswith("CONECT"))
    (tmp_path / "topology.pdb").write_text(open_ + "\n")
    shutil.copy(CASES / "cyclic-peptide/b.xtc", tmp_path / "md.xtc")
    names = reference_from_trajectory(tmp_path / "md.xtc").torsion_names
    assert {"phi GLY1", "psi GLY6"} <= set(names) and len(names) == 12


@pytest.mark.parametrize("name", ["RUN.XTC", "Run.Dcd", "run.mmcif"])
def test_the_case_of_an_extension_and_its_other_name_do_not_matter(name, tmp_path):
    """(extensions)"""
    made = written(tmp_path, f"a{Path(name.lower().replace('mmcif', 'cif')).suffix}", trajectory(3))
    found = read_ensemble(made.rename(tmp_path / name), tmp_path / "topology.pdb")
    assert found.n == 3


def test_formats_that_are_not_read_are_listed(tmp_path):
    """(extensions)"""
    (tmp_path / "run.binpos").write_bytes(b"fxyz")
    with pytest.raises(MolflowError, match=r"give a file that ends in \.dcd, \.xtc"):
        read_ensemble(tmp_path / "run.binpos", None)
    (tmp_path / "run.dcd.bz2").write_bytes(b"BZh9")
    with pytest.raises(MolflowError, match="unpack it first, or give a file that ends"):
        read_ensemble(tmp_path / "run.dcd.bz2", None)


def test_sites_of_charge_take_no_part_in_hands_and_torsions(tmp_path):
    """Lone pairs of a PDB file, whose element is a name of no element (extra-particles)."""
    made = trajectory(60)
    top = made.topology.copy()
    residue = list(top.residues)[-1]
    for k in range(2):
        top.add_atom(f"EP{k}", mdtraj.element.virtual, residue)
    xyz = np.concatenate([made.xyz, made.xyz[:, 8:10] + 0.03], axis=1)
    whole = mdtraj.Trajectory(xyz, top)
    found = read_ensemble(written(tmp_path, "run.dcd", whole), None)
    assert found.topology.n_atoms == 22 and "2 particles without an element" in found.flaws[0]
    assert [t.name for t in torsion_list(found.topology)] == ["phi", "psi"]


@pytest.mark.parametrize("text", ["", "[1, 2]", "null", '"x"', "\ufeff{}", "{" * 50_000])
def test_what_is_beside_an_ensemble_and_not_its_record_is_noted(text, tmp_path):
    """Nothing, a list, nested without end (foreign-json)."""
    path = written(tmp_path, "run.dcd", trajectory(3))
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    notes = read_ensemble(path, None).notes
    assert any("run.json beside the ensemble belongs to another file" in note for note in notes)


def test_the_hand_of_a_side_chain_is_seen_in_heavy_atoms():
    """Of a threonine-like CB with its OG and CG exchanged, which no CB shows (chirality)."""
    top, atoms = mdtraj.Topology(), {}
    residue = top.add_residue("THR", top.add_chain(), resSeq=1)
    for name in ("N", "CA", "C", "O", "CB", "OG1", "CG2"):
        element = mdtraj.element.get_by_symbol(name[0])
        atoms[name] = top.add_atom(name, element, residue)
    top.create_standard_bonds()
    places = {"N": (1, 1, 1), "CA": (0, 0, 0), "C": (1, -1, -1), "O": (1, -2.3, -1.5),
              "CB": (-1, 1, -1), "OG1": (-2, 2, 0), "CG2": (0, 2, -2)}  # fmt: skip
    xyz = np.repeat(0.087 * np.array([list(places.values())]), 30, axis=0)
    xyz += np.random.default_rng(0).normal(0, 0.002, xyz.shape)
    centres = shown_stereocentres(top, xyz)
    assert [top.atom(c[0]).name for c in centres] == ["CA", "CB"]
    turned = xyz.copy()
    turned[:, [5, 6]] = turned[:, [6, 5]]
    both = handedness(xyz, centres) * handedness(turned, centres)
    assert np.all(both[:, 0] > 0) and np.all(both[:, 1] < 0)


def test_residues_of_one_number_are_told_apart():
    """52 and 52A of one chain, which readers know by one number (homodimer-labels)."""
    top = mdtraj.Topology()
    own = top.add_chain()
    for _ in range(2):
        residue = top.add_residue("SER", own, resSeq=52)
        for name in ("N", "CA", "C", "O", "CB", "OG"):
            top.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residue)
    top.create_standard_bonds()
    labels = residue_labels(top)
    assert len(set(labels)) == 2
    names = [torsion.name for torsion in torsion_list(top)]
    assert len(set(names)) == len(names)


def test_a_chain_without_a_letter_that_fits_two_is_refused(tmp_path):
    """(homodimer-one-chain)"""
    folder = CASES / "homodimer-one-chain"
    text = (folder / "chain-a.pdb").read_text().splitlines()
    blank = [x[:21] + " " + x[22:] if x.startswith(("ATOM", "HETATM", "TER")) else x for x in text]
    (tmp_path / "blank.pdb").write_text("\n".join(blank) + "\n")
    shutil.copy(folder / "chain-a.xtc", tmp_path)
    with pytest.raises(MolflowError, match="fit several chains of the reference"):
        judged(tmp_path / "chain-a.xtc", folder / "dimer.xtc", top=tmp_path / "blank.pdb",
               reference_top=folder / "dimer.pdb")  # fmt: skip


def test_kinetics_of_one_torsion_in_an_own_file(tmp_path):
    """Butane, no peptide, with times in the file (kinetics-own-trajectory)."""
    rng, state = np.random.default_rng(0), np.zeros(3000)
    for k in range(1, 3000):
        state[k] = 1 - state[k - 1] if rng.random() < 0.02 else state[k - 1]
    torsions = np.where(state, np.pi, 1.1) + rng.normal(0, 0.1, 3000)
    made = mdtraj.Trajectory(zigzag(torsions[:, None]), chain("CCCC"), np.arange(3000.0))
    path = written(tmp_path, "run.xtc", made)
    found = kinetics(path, tmp_path / "k", lag="2ps", states=4)
    assert found["runs"] == 1 and found["length_ps"] == pytest.approx(3000.0, rel=0.01)


def test_a_ligand_with_a_ring_and_no_bond_in_its_file_is_judged():
    """Benzene with a tail of oxygen, beside a peptide (ligand-without-conect)."""
    angles = np.radians(60 * np.arange(6))
    ring = 0.139 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    tail = np.array([[0.275, 0, 0], [0.34, 0.12, 0]])
    top, residue = TOPOLOGY.copy(), None
    residue = top.add_residue("LIG", top.add_chain(), resSeq=9)
    for k, symbol in enumerate("CCCCCCOC"):
        top.add_atom(f"{symbol}{k}", mdtraj.element.get_by_symbol(symbol), residue)
    apart = np.concatenate([ring, tail]) + SYSTEM.start_positions().max(axis=0) + 0.5
    made = with_bonds(top, np.concatenate([SYSTEM.start_positions(), apart]))
    table = neighbours(made)
    assert [len(row) for row in table[22:]] == [3, 2, 2, 2, 2, 2, 2, 1]
    assert all(min(row) >= 22 for row in table[22:])


def test_a_phosphate_whose_bonds_no_table_knows_is_judged():
    """(modified-residue)"""
    names, symbols = ["CB", "OG", "P", "O1P", "O2P"], "COPOO"
    top = chain(symbols, names, bonds=[(0, 1)])
    xyz = np.array([[0, 0, 0], [0.143, 0, 0], [0.2, 0.15, 0], [0.35, 0.14, 0], [0.15, 0.23, 0.12]])
    made = with_bonds(top, xyz)
    assert sorted((a.name, b.name) for a, b in made.bonds) == [
        ("CB", "OG"), ("OG", "P"), ("P", "O1P"), ("P", "O2P"),
    ]  # fmt: skip


def test_no_torsion_passes_through_what_a_chain_lacks(tmp_path):
    """A PDB file of one chain with a gap in its numbers (prmtop-two-chains)."""
    top, letters = mdtraj.Topology(), ("N", "CA", "C", "O", "CB")
    own = top.add_chain("A")
    for number in (1, 2, 7, 8):
        residue = top.add_residue("ALA", own, resSeq=number)
        for name in letters:
            top.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residue)
    one = np.array(
        [[0, 0, 0], [0.146, 0, 0], [0.2, 0.142, 0], [0.12, 0.235, 0], [0.2, -0.08, 0.12]]
    )
    step = np.array([0.33, 0.13, 0.0])
    xyz = np.concatenate([one + k * step + (2.0 if k > 1 else 0.0) for k in range(4)])
    mdtraj.Trajectory(xyz[None], top).save_pdb(str(tmp_path / "gap.pdb"))
    read = mdtraj.load_pdb(str(tmp_path / "gap.pdb"))
    assert any(b[0].residue.resSeq == 2 and b[1].residue.resSeq == 7 for b in read.topology.bonds)
    made = with_bonds(read.topology, read.xyz[0])
    assert made.n_bonds == read.topology.n_bonds - 1
    assert {t.name for t in torsion_list(made)} == {"psi ALA1", "phi ALA2", "psi ALA7", "phi ALA8"}


STRANGE = "läufe mit € und 分子", b"\xff\xfe".decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("place", STRANGE, ids=["letters", "bytes"])
def test_names_of_any_letters_and_of_none(place, tmp_path):
    """Blanks, other alphabets, and bytes that are no text (nonascii-path)."""
    folder = tmp_path / place
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    for name, seed in (("run.xtc", 0), ("md.xtc", 3)):  # mdtraj cannot write there itself
        shutil.move(written(tmp_path, name, trajectory(60, seed=seed)), folder)
    shutil.move(tmp_path / "topology.pdb", folder)
    result = judged(folder / "run.xtc", folder / "md.xtc", out=folder / "bericht.html")
    assert result["n"] == 60 and (folder / "bericht.html").stat().st_size > 1000


def test_no_table_and_no_file_of_weights_replaces_the_users(tmp_path):
    """(offenders-deletes)"""
    path = written(tmp_path, "run.dcd", trajectory(60))
    np.savez(tmp_path / "w.npz", weights=np.ones(60))
    mine = written(tmp_path, "mine.dcd", trajectory(5, seed=4))
    (tmp_path / "mine.npz").write_bytes(b"the user's")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for words in (
        ("resample", path, "--weights", tmp_path / "w.npz", "--out", mine),
        ("restrain", path, "--mean", "coupling:1=6.8+-0.3", "--out", tmp_path / "mine.npz"),
        ("refine", path, "--system", "alanine_dipeptide", "--steps", "20", "--out", mine),
    ):
        found = given(*words)
        assert found.exit_code == 2 and "mine." in found.output, words
        after = {p.name: p.read_bytes() for p in tmp_path.iterdir() if not p.name.startswith(".")}
        assert {name: after.get(name) for name in before} == before, words


def test_a_point_mutation_is_told(tmp_path):
    """One residue of the same atoms but for its name (other-sequence)."""
    run = written(tmp_path, "run.xtc", trajectory(60), "run.pdb")
    (tmp_path / "run.pdb").write_text((tmp_path / "run.pdb").read_text().replace("ALA", "ABA"))
    md = written(tmp_path, "md.xtc", trajectory(60, seed=3))
    found = judged(run, md, top=tmp_path / "run.pdb")
    assert any("ABA2 is ALA2 in the reference" in note for note in found["notes"])


def test_the_report_of_a_check_never_replaces_a_record(tmp_path):
    """(out-overwrites-record)"""
    written(tmp_path, "ens.dcd", trajectory(5))
    (tmp_path / "ens.json").write_text('{"trajectory_sha256": "a"}')
    words = ("check", "alanine_dipeptide", "--steps", "1", "-n", "64", "--out",
             tmp_path / "ens.json")  # fmt: skip
    found = given(*words)
    assert found.exit_code == 2 and (tmp_path / "ens.json").read_text() == (
        '{"trajectory_sha256": "a"}'
    )


def test_an_included_file_is_part_of_the_force_field(tmp_path):
    """(own-forcefield)"""
    hashes = []
    for scale in ("0.5", "0.6"):
        folder = tmp_path / scale
        shutil.copytree(
            SYSTEM.folder, folder, ignore=shutil.ignore_patterns("*/", "check*", "ref*")
        )
        entries = yaml.safe_load((folder / "system.yaml").read_text())
        entries["forcefield"] = [*entries["forcefield"], "outer.xml"]
        entries.pop("forcefield_sha256", None)
        (folder / "system.yaml").write_text(yaml.safe_dump(entries))
        (folder / "outer.xml").write_text('<ForceField><Include file="inner.xml"/></ForceField>')
        (folder / "inner.xml").write_text(f"<ForceField><Info>{scale}</Info></ForceField>")
        hashes.append(load_system(folder).ensemble_hash)
    assert hashes[0] != hashes[1]


def test_a_reference_cut_by_a_box_that_its_file_does_not_carry_is_refused(tmp_path):
    """(pbc-later-frames)"""
    made = trajectory(80)
    made.xyz[40:, 15:, 1] += 2.0
    md = written(tmp_path, "md.dcd", made)
    run = written(tmp_path, "run.dcd", trajectory(80, seed=2))
    with pytest.raises(MolflowError, match="40 of the 80 frames .* bond of more than 0.35 nm: if"):
        judged(run, md)


def test_atoms_in_reverse_are_put_in_order(tmp_path):
    """(reorder-advice)"""
    made = trajectory(60)
    back = made.atom_slice(np.arange(22))
    top, order = mdtraj.Topology(), []
    own = top.add_chain()
    for residue in TOPOLOGY.residues:
        copy = top.add_residue(residue.name, own, residue.resSeq)
        for atom in reversed(list(residue.atoms)):
            top.add_atom(atom.name, atom.element, copy)
            order.append(atom.index)
    top.create_standard_bonds()
    back = mdtraj.Trajectory(made.xyz[:, order], top)
    found, _ = read_ensemble(back, None).in_order_of(TOPOLOGY)
    assert np.array_equal(next(found.chunks(99)).xyz, made.xyz)


def test_copies_of_a_structure_are_no_reference(tmp_path):
    """(tiny-reference)"""
    one = conformations(torsion_samples(3, 0.0, 1))
    made = mdtraj.Trajectory(np.repeat(one, 30, axis=0), TOPOLOGY)
    truth = reference_from_trajectory(written(tmp_path, "md.dcd", made))
    with pytest.raises(MolflowError, match="copies of 3 that differ, and at least 20 are needed"):
        check_soundness(truth)


@pytest.mark.parametrize("suffix", [".lammpstrj", ".mdcrd", ".xyz", ".pdb.gz", ".nc"])
def test_text_that_ends_within_a_frame_is_noted_or_refused(suffix, tmp_path):
    """(truncated)"""
    made = trajectory(6)
    made.unitcell_lengths, made.unitcell_angles = np.full((6, 3), 4.0), np.full((6, 3), 90.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = written(tmp_path, f"run{suffix}", made)
        assert not read_ensemble(path, None).flaws
        os.truncate(path, int(0.7 * path.stat().st_size))
        try:
            found = read_ensemble(path, None)
        except MolflowError as error:
            assert "is it whole" in str(error)
        else:
            assert found.n == 4 and "is incomplete: it ends within a frame" in found.flaws[0]


def test_times_that_start_again_are_told(tmp_path):
    """Two parts of one run, the second from the last state of the first (uneven-times)."""
    made = trajectory(100)
    made.time = np.concatenate([np.arange(50.0), np.arange(49.0, 99.0)])
    md = trajectory(100, seed=2)
    md.time = np.arange(100.0)
    result = judged(written(tmp_path, "run.xtc", made), written(tmp_path, "md.xtc", md))
    assert "Order in time" not in levels(result)
    assert any("not equally spaced, so its order in time is not" in n for n in result["notes"])
