import json
import re
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
from matplotlib.image import imread
from synthetic import SYSTEM, TOPOLOGY, energies, reference, trajectory

from molflow.comparison import compare, format_table
from molflow.data.simulation import trajectory_hashes
from molflow.errors import MolflowError
from molflow.files import sha256_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    reference(frames=1500).save(folder / "ref")
    made = trajectory(200, seed=9)
    made.save_dcd(str(folder / "ensemble.dcd"))
    made[:1].save_pdb(str(folder / "topology.pdb"))
    return folder


@pytest.fixture
def recorded(folder):
    def write(**changes):
        record = {
            "ensemble_hash": SYSTEM.ensemble_hash,
            "trajectory_sha256": sha256_of(folder / "ensemble.dcd"),
            "checkpoint": {"split": {"train": [0], "validation": [1], "held_out": [2]}},
        }
        (folder / "ensemble.json").write_text(json.dumps(record | changes))
        np.savez(folder / "ensemble.npz", energies=energies(200, 3))

    yield write
    (folder / "ensemble.json").unlink(missing_ok=True)
    (folder / "ensemble.npz").unlink(missing_ok=True)


def test_report_and_twin(folder, recorded):
    recorded()
    result = compare(folder / "ensemble.dcd", folder / "ref", folder / "out" / "report.html")
    page = (folder / "out" / "report.html").read_text()
    assert result["verdict"]["headline"] in page
    assert page.index(result["verdict"]["headline"]) < page.index("fes_rmse")
    assert not re.search(r"(src|href)=\"(?!data:)", page) and "http" not in page.lower()
    clusters = result["clusters"]["clusters"]
    assert [cluster["name"] for cluster in clusters] == ["β", "αR", "αL"]
    # Four pictures, and a still one of every molecule for print and readers without scripts.
    assert page.count("data:image/svg+xml;base64,") == 4 + 3
    assert page.count("<canvas data-frame") == 3
    scene = json.loads(re.search(r'id="scene">(.*)</script>', page).group(1))
    assert len(scene["elements"]) == 22 and len(scene["bonds"]) == TOPOLOGY.n_bonds
    # The viewer has the very sample that the table names: distances are those of the file.
    shown = np.array(scene["frames"]).reshape(3, 22, 3)
    made = trajectory(200, seed=9).xyz[[cluster["sample"] for cluster in clusters]]
    for one, other in zip(shown, made, strict=True):
        distances = [np.linalg.norm(x[:, None] - x, axis=-1) for x in (one, other)]
        assert np.allclose(*distances, atol=3e-4)
    assert json.loads((folder / "out" / "metrics.json").read_text()) == result
    assert result["provenance"]["ensemble checkpoint split train"] == "0"
    assert not any("trained on" in note for note in result["notes"])
    stored = energies(200, 3) / (8.31446261815324e-3 * 300)
    assert result["observables"]["energy"]["model"]["mean"] == pytest.approx(stored.mean())
    table = format_table(result)
    assert "floor" in table and "excess" in table and "fes_rmse" in table


def pages_of(path):
    """Return the number of pages of a PDF file that is whole."""
    data = path.read_bytes()
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF")
    return len(re.findall(rb"/Type /Page\b", data))


def test_figures_for_papers(folder, recorded, tmp_path):
    recorded()
    compare(folder / "ensemble.dcd", folder / "ref", figures=tmp_path / "a")
    sizes = {
        "free_energy_maps": (8.6, 3.9), "torsion_profiles": (8.6, 3.0), "energies": (4.4, 3.0),
        "fluctuations": (4.4, 3.0),
    }  # fmt: skip
    names = {f"{name}.{kind}" for name in [*sizes, "clusters"] for kind in ("pdf", "png")}
    assert {path.name for path in (tmp_path / "a").iterdir()} == names | {"report.pdf"}
    for name, (width, height) in sizes.items():
        assert pages_of(tmp_path / "a" / f"{name}.pdf") == 1
        pixels = imread(tmp_path / "a" / f"{name}.png")
        assert abs(pixels.shape[1] - 300 * width) < 2 and abs(pixels.shape[0] - 300 * height) < 2
        assert pixels[..., :3].std() > 0.01
    assert pages_of(tmp_path / "a" / "report.pdf") == 4  # verdict, scores, two of pictures
    (tmp_path / "file").write_text("")
    with pytest.raises(MolflowError, match="cannot write"):
        compare(folder / "ensemble.dcd", folder / "ref", figures=tmp_path / "file" / "b")


def test_twin_of_another_name_and_same_bytes_again(folder, recorded):
    recorded()
    pages = []
    for _ in range(2):
        compare(folder / "ensemble.dcd", folder / "ref", folder / "mine.html")
        pages.append((folder / "mine.html").read_bytes())
    assert (folder / "mine.json").is_file() and pages[0] == pages[1]


def test_another_hash_is_refused_unless_forced(folder, recorded):
    recorded(ensemble_hash="0123456789abcdef")
    with pytest.raises(MolflowError, match="0123456789abcdef"):
        compare(folder / "ensemble.dcd", folder / "ref")
    notes = compare(folder / "ensemble.dcd", folder / "ref", force=True)["notes"]
    assert any("Forced" in note for note in notes)


def test_training_on_the_held_out_run_is_told(folder, recorded):
    recorded(checkpoint={"split": {"train": [0, 2], "validation": [1]}})
    notes = compare(folder / "ensemble.dcd", folder / "ref")["notes"]
    assert any("trained on runs numbered 2" in note for note in notes)


def test_runs_are_known_by_their_files_where_both_sides_name_them(folder, recorded, tmp_path):
    files = {f"replica-{run}.dcd": f"{run}" * 64 for run in range(3)}
    provenance = {"simulation": {"sha256": files | {"replica-2.npz": "c" * 64}}}
    replace(reference(frames=1500), provenance=provenance).save(tmp_path / "ref")
    split = {"train": [0, 2], "validation": [1]}
    for trained, told in ((["2" * 64, "e" * 64], True), (["0" * 64], False), (["e" * 64], False)):
        recorded(checkpoint={"split": split, "trajectories": trained})
        notes = compare(folder / "ensemble.dcd", tmp_path / "ref")["notes"]
        assert any("trained on runs 2 of the reference" in note for note in notes) == told
        assert not any("numbered" in note for note in notes)


def test_files_of_a_simulation_and_those_that_were_made_elsewhere():
    ours = {"sha256": {"replica-0.dcd": "a", "replica-1.dcd": "b", "replica-1.npz": "c"}}
    assert trajectory_hashes(ours, [1]) == {"b": 1}
    elsewhere = {"files": [{"sha256": "d"}, {"sha256": "a"}], "sha256": {"replica-0.dcd": "f"}}
    assert trajectory_hashes(elsewhere, [0]) == {"d": 0, "a": 1}
    assert trajectory_hashes({}, [0, 1]) == {}


def test_stale_energies_are_not_used(folder, recorded):
    recorded(trajectory_sha256="0" * 64)
    result = compare(folder / "ensemble.dcd", folder / "ref")
    assert any("belongs to another file" in note for note in result["notes"])
    stored = energies(200, 3) / (8.31446261815324e-3 * 300)
    assert result["observables"]["energy"]["model"]["mean"] != pytest.approx(stored.mean())


def test_energies_are_computed_by_the_force_field(folder):
    pytest.importorskip("openmm")
    import openmm
    from openmm import app

    made = mdtraj.load(str(folder / "ensemble.dcd"), top=str(folder / "topology.pdb"))[:3]
    result = compare(made, folder / "ref")
    pdb = app.PDBFile(str(SYSTEM.structure_path))
    built = app.ForceField(*SYSTEM.forcefield).createSystem(pdb.topology)
    context = openmm.Context(
        built, openmm.VerletIntegrator(1e-3), openmm.Platform.getPlatformByName("Reference")
    )
    values = []
    for xyz in made.xyz:
        context.setPositions(xyz)
        values.append(context.getState(energy=True).getPotentialEnergy()._value)
    expected = np.mean(values) / (8.31446261815324e-3 * 300)
    assert result["observables"]["energy"]["model"]["mean"] == pytest.approx(expected, rel=1e-6)


def test_xtc_rounding_is_told(folder):
    made = mdtraj.load(str(folder / "ensemble.dcd"), top=str(folder / "topology.pdb"))
    made[:20].save_xtc(str(folder / "rounded.xtc"))
    notes = compare(folder / "rounded.xtc", folder / "ref")["notes"]
    assert any("0.3 kT" in note for note in notes)


def test_coarse_ensembles_have_torsions_but_no_energies(folder):
    made = trajectory(100, seed=3).atom_slice([4, 6, 8, 14, 16])
    result = compare(made, folder / "ref")
    assert result["ensemble"]["coarse"] and "energy_w1" not in result["metrics"]
    assert result["metrics"]["fes_rmse"]["n_model"] == 100


def test_wrong_molecule_order_and_files(folder, tmp_path):
    renamed = TOPOLOGY.copy()
    renamed.atom(10).name = "CX"
    made = trajectory(3)
    with pytest.raises(MolflowError, match="'CX' of residue ALA 2"):
        compare(mdtraj.Trajectory(made.xyz, renamed), folder / "ref")
    order = [1, 0, *range(2, 22)]
    swapped = TOPOLOGY.copy()
    swapped.atom(0).name, swapped.atom(1).name = "CH3", "H1"
    shuffled = compare(mdtraj.Trajectory(made.xyz[:, order], swapped), folder / "ref")
    assert any("put in the order of the reference" in note for note in shuffled["notes"])
    plain = compare(made, folder / "ref")
    assert shuffled["metrics"] == plain["metrics"] and shuffled["n_valid"] == plain["n_valid"]
    with pytest.raises(MolflowError, match="no ensemble"):
        compare(tmp_path / "nothing.dcd", folder / "ref")
    (tmp_path / "words.txt").write_text("no trajectory")
    with pytest.raises(MolflowError, match="ends in"):
        compare(tmp_path / "words.txt", folder / "ref")
    (tmp_path / "noise.dcd").write_bytes(b"no trajectory")
    made[:1].save_pdb(str(tmp_path / "topology.pdb"))
    with pytest.raises(MolflowError, match="cannot be read"):
        compare(tmp_path / "noise.dcd", folder / "ref")
    with pytest.raises(MolflowError, match="not a built-in system"):
        compare(made, tmp_path)
    with pytest.raises(MolflowError, match="no conformations"):
        compare(made[:0], folder / "ref")


def test_unwritable_output_is_refused_before_work(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MolflowError, match="cannot write"):
        compare(folder / "ensemble.dcd", folder / "ref", tmp_path / "file" / "report.html")
    with pytest.raises(MolflowError, match="HTML"):
        compare(folder / "ensemble.dcd", folder / "ref", tmp_path)


def test_a_stored_free_energy_is_shown(folder, tmp_path):
    from dataclasses import replace

    from molflow.analysis.reference import load_reference

    stored = {"method": "metadynamics", "value": 3.21, "interval": [3.1, 3.3]}
    replace(load_reference(folder / "ref"), delta_f_alpha_l=stored).save(tmp_path / "ref")
    result = compare(trajectory(30), tmp_path / "ref", tmp_path / "report.html")
    assert result["observables"]["delta_f_alpha_l"]["stored"] == stored
    assert "3.21 (3.10 – 3.30)" in (tmp_path / "report.html").read_text()


def test_populations_and_energies_have_the_errors_of_independent_samples(folder, recorded):
    recorded()
    result = compare(folder / "ensemble.dcd", folder / "ref", exact_transport=False)
    energy = result["observables"]["energy"]["model"]
    # Normal: the mean errs by s / sqrt(n), the median by sqrt(pi / 2) and sd by sqrt(1 / 2) of it.
    error = energy["sd"] / np.sqrt(energy["samples"])
    assert energy["samples"] == 200
    for name, factor in (("mean", 1.0), ("median", np.sqrt(np.pi / 2)), ("sd", np.sqrt(0.5))):
        assert energy["errors"][name] == pytest.approx(factor * error, rel=0.4)
    (entry,) = result["observables"]["residues"].values()
    for side, n in (("model", 200), ("reference", 500)):
        for basin, share in entry["basins"][side].items():
            expected = np.sqrt(share * (1 - share) / n)
            assert entry["basin_errors"][side][basin] == pytest.approx(expected, rel=0.3)
