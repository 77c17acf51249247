"""Files as people have them: sound references, names of atoms, and files that are not molflow's."""

import shutil
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from synthetic import TOPOLOGY, reference, trajectory
from typer.testing import CliRunner

from molflow.analysis.files.atom_matching import match_atoms
from molflow.analysis.molecule.stereo import handedness, shown_stereocentres, stereocentres
from molflow.analysis.soundness import check_soundness, long_bonds
from molflow.cli import app
from molflow.comparison import compare
from molflow.errors import MolflowError

CASES = Path(__file__).parent.parent / "data" / "cases"


def judged(case, ensemble, against, top=None, reference_top=None, **options):
    folder = CASES / case
    tops = {"top": top, "reference_top": reference_top}
    return compare(
        folder / ensemble, folder / against, exact_transport=False, jobs=1, **options,
        **{name: None if path is None else folder / path for name, path in tops.items()},
    )  # fmt: skip


def levels(result):
    return {check["aspect"]: check["level"] for check in result["verdict"]["checks"]}


def noted(result, text):
    return any(text in note for note in result["notes"])


def test_a_reference_cut_by_its_box_in_later_frames_is_refused():
    with pytest.raises(MolflowError, match="20 of the 150 frames .* cut by the edge of its per"):
        judged("pbc-later-frames", "whole.xtc", "wrapped.xtc")


def test_an_ensemble_cut_by_its_box_is_told_why_it_is_broken():
    result = judged("pbc-later-frames", "wrapped.xtc", "whole.xtc")
    assert levels(result)["Validity and chirality"] == "bad"
    assert noted(result, "20 of the first 20 samples") and noted(result, "(2.60, 2.60, 2.60 nm)")


def test_long_bonds_are_cut_or_torn():
    positions = np.array([[[0.1, 0, 0], [0.2, 0, 0]], [[0.05, 0, 0], [1.95, 0, 0]],
                          [[0.1, 0, 0], [0.9, 0, 0]]])  # fmt: skip
    box = np.full((3, 3), 2.0)
    cut, torn = long_bonds(positions, np.array([[0, 1]]), box)
    assert cut.tolist() == [False, True, False] and torn.tolist() == [False, False, True]
    assert long_bonds(positions, np.array([[0, 1]]))[1].tolist() == [False, True, True]


@pytest.mark.parametrize(("name", "frames"), [("one.pdb", "1 frame "), ("three.pdb", "3 frames ")])
def test_some_structures_are_no_reference(name, frames):
    with pytest.raises(MolflowError, match=f"{frames}to score against, and at least 50 are needed"):
        judged("tiny-reference", "md.xtc", name)


def test_broken_and_mirrored_references_are_refused_or_noted():
    truth = reference(frames=900)
    assert check_soundness(truth) == []
    positions = truth.positions.copy()
    positions[-2, 0] += 0.9 * (positions[-2, 0] - positions[-2, 1])  # one of 75 held out
    with pytest.raises(MolflowError, match=r"1 of 75 frames .* usual length"):
        check_soundness(replace(truth, positions=positions))
    mixed = truth.positions.copy()
    mixed[-3:, :, 0] *= -1
    with pytest.raises(MolflowError, match="3 of 75 frames .* other hand at ALA2:CA"):
        check_soundness(replace(truth, positions=mixed))
    mirrored = truth.positions * np.array([-1, 1, 1], np.float32)
    (note,) = check_soundness(replace(truth, positions=mirrored))
    assert "ALA2 are D-residues by their positions" in note


def test_the_hand_is_seen_without_hydrogens():
    result = judged("heavy-atom-chirality", "d-residue.xtc", "l-residue.xtc")
    assert result["validity"]["wrong_hand"] == result["n"] == 150
    assert levels(result)["Validity and chirality"] == "bad"
    again = judged("heavy-atom-chirality", "l-residue.xtc", "l-residue.xtc")
    assert again["validity"]["wrong_hand"] == 0


def test_heavy_atoms_show_the_centres_of_all_atoms():
    xyz = trajectory(60).xyz
    heavy = [a.index for a in TOPOLOGY.atoms if a.element.symbol != "H"]
    whole = stereocentres(TOPOLOGY)
    assert shown_stereocentres(TOPOLOGY, xyz) == whole
    found = shown_stereocentres(TOPOLOGY.subset(heavy), xyz[:, heavy])
    assert [heavy[centre] for centre, *_ in found] == [centre for centre, *_ in whole]
    mirrored = xyz * np.array([-1, 1, 1], np.float32)
    signs = [handedness(x[:, heavy], found) for x in (xyz, mirrored)]
    assert np.all(signs[0] == -signs[1]) and np.all(signs[0] == signs[0][0])


def test_atoms_are_put_in_order_by_their_names():
    result = judged("reorder-advice", "permuted.xtc", "md.xtc", "permuted.pdb", "md.pdb")
    assert noted(result, "put in the order of the reference") and result["n_valid"] == result["n"]
    assert result["verdict"]["headline"].count("What these data can tell agrees.") == 1


def test_another_order_of_atoms_gives_the_same_scores(tmp_path):
    made, order = trajectory(80, seed=9), np.arange(22)
    reference(frames=900).save(tmp_path / "ref")
    order[[8, 10]] = [10, 8]  # CA and CB
    swapped = TOPOLOGY.copy()
    swapped.atom(8).name, swapped.atom(10).name = "CB", "CA"
    results = [
        compare(x, tmp_path / "ref", exact_transport=False)
        for x in (made, mdtraj.Trajectory(made.xyz[:, order], swapped))
    ]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert results[0]["clusters"] == results[1]["clusters"]


def test_one_chain_of_a_dimer_is_judged_by_its_letter():
    result = judged("homodimer-one-chain", "chain-a.xtc", "dimer.xtc", "chain-a.pdb", "dimer.pdb")
    assert result["verdict"]["headline"].count("What these data can tell agrees.") == 1
    (entry,) = result["observables"]["residues"].values()
    assert entry["basins"]["reference"]["alpha_r"] > 0.9


def test_names_that_fit_several_chains_are_refused():
    dimer = mdtraj.load_topology(str(CASES / "homodimer-one-chain" / "dimer.pdb"))
    one = mdtraj.load_topology(str(CASES / "homodimer-one-chain" / "chain-a.pdb"))
    half = dimer.n_atoms // 2
    assert np.array_equal(match_atoms(one, dimer), np.arange(half))
    for chain in one.chains:
        chain.chain_id = "B"
    assert np.array_equal(match_atoms(one, dimer), half + np.arange(half))
    for chain in one.chains:
        chain.chain_id = "X"
    with pytest.raises(MolflowError, match=r"fit several chains of the reference \(A, B\)"):
        match_atoms(one, dimer)


def test_another_sequence_is_noted():
    result = judged("other-sequence", "other.xtc", "md.xtc", "other.pdb", "md.pdb")
    assert noted(result, "TRP1 is GLY1 in the reference") and noted(result, "and 1 more")


def test_a_report_never_replaces_a_record_or_a_page_of_the_user(tmp_path):
    reference(frames=600).save(tmp_path / "ref")
    made = trajectory(60, seed=3)
    for name, text in (("ens.json", '{"ensemble_hash": "abc"}'), ("page.html", "<p>mine</p>")):
        (tmp_path / name).write_text(text)
    made.save_dcd(str(tmp_path / "ens.dcd"))
    made[0].save_pdb(str(tmp_path / "topology.pdb"))
    with pytest.raises(MolflowError, match="record of the trajectory beside it"):
        compare(tmp_path / "ens.dcd", tmp_path / "ref", tmp_path / "ens.html")
    with pytest.raises(MolflowError, match="page.html' would be replaced"):
        compare(tmp_path / "ens.dcd", tmp_path / "ref", tmp_path / "page.html")
    assert (tmp_path / "ens.json").read_text() == '{"ensemble_hash": "abc"}'
    assert not (tmp_path / "ens.html").exists()
    for _ in range(2):  # what a comparison wrote it may write again
        compare(made, tmp_path / "ref", tmp_path / "mine.html", exact_transport=False)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "report.pdf").write_bytes(b"%PDF of the user")
    with pytest.raises(MolflowError, match="report.pdf' would be replaced"):
        compare(made, tmp_path / "ref", figures=tmp_path / "figures")


def test_offenders_never_replace_or_delete_files_of_the_user(tmp_path):
    for path in (CASES / "offenders-deletes").iterdir():
        shutil.copy(path, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def run(name):
        words = [
            "compare", tmp_path / "run.xtc", "--top", tmp_path / "run.pdb", "--reference",
            tmp_path / "md.xtc", "--reference-top", tmp_path / "run.pdb", "--no-transport",
            "--offenders", tmp_path / name,
        ]  # fmt: skip
        return CliRunner().invoke(app, [str(word) for word in words])

    for name in ("run.dcd", "run.xtc", "run.h5"):  # each would take run.csv, and two run.pdb
        found = run(name)
        assert found.exit_code == 2 and "no comparison wrote that" in found.output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    for _ in range(2):
        found = run("bad.dcd")
        assert found.exit_code == 0 and "No finite sample failed a test" in found.output
    assert {path.name for path in tmp_path.iterdir()} == {*before, "bad.csv"}


def test_an_ensemble_that_is_compared_with_itself_is_told(tmp_path):
    frames, others = trajectory(200, seed=1), trajectory(200, seed=2)
    frames.save(str(tmp_path / "md.h5"))
    others[:1].join(frames[:100]).save(str(tmp_path / "half.h5"))
    others.join(frames[:1]).save(str(tmp_path / "run.h5"))  # from the same start
    words = "it is judged by itself, and that it agrees says nothing"
    for name, count in (("md.h5", "200 of 200"), ("half.h5", "100 of 200"), ("run.h5", None)):
        result = compare(tmp_path / name, tmp_path / "md.h5", exact_transport=False)
        assert noted(result, words) is (count is not None)
        assert count is None or noted(result, f"{count} positions of the reference are conform")


def test_units_that_were_mistaken_are_told(tmp_path):
    truth, made = trajectory(200, seed=1), trajectory(200, seed=2)
    truth.save(str(tmp_path / "md.h5"))
    for factor in (10, 0.1, 2):
        scaled = mdtraj.Trajectory(factor * made.xyz, made.topology)
        scaled.save(str(tmp_path / "run.h5"))
        result = compare(tmp_path / "run.h5", tmp_path / "md.h5", exact_transport=False)
        assert levels(result)["Validity and chirality"] == "bad"
        assert noted(result, f"bonds are {factor:g} times as long") is (factor != 2)
