"""Damaged and hostile files: one sentence that names the file, whatever is in it."""

import pickle
import random
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "analysis"))
from synthetic import reference, trajectory

from molflow.analysis import decoding
from molflow.analysis.ensemble import read_ensemble
from molflow.analysis.reference import load_reference
from molflow.analysis.weight_files import read_log_weights
from molflow.data.dataset import load_training_data
from molflow.data.simulation import open_simulation
from molflow.errors import MolflowError
from molflow.files import read_arrays, read_json, reader, write_arrays, write_json
from molflow.md.bias import load_bias

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
DEEP = ["[" * 100_000, '{"a":' * 100_000, "[" + "9" * 10_000 + "]", "\x00", "\ufeff{}", "nul"]


@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_json_of_any_kind_is_read_or_refused(text, tmp_path):
    for name, read in (
        ("manifest.json", load_training_data), ("simulation.json", open_simulation),
        ("reference.json", load_reference),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        with pytest.raises(MolflowError, match=f"{name}' is damaged"):
            read(tmp_path)
    with pytest.raises(MolflowError, match="damaged"):
        read_json(tmp_path / "manifest.json")


@pytest.mark.parametrize("value", [None, [], {"a": {}}, "x", 10**400, [[[1]]]])
def test_values_of_other_kinds_are_a_sentence(value, tmp_path):
    reference(frames=90).save(tmp_path / "ref")
    text = read_json(tmp_path / "ref/reference.json")
    for key in ("torsion_names", "held_out"):
        write_json(tmp_path / "ref/reference.json", text | {key: value})
        try:
            load_reference(tmp_path / "ref")
        except MolflowError as error:
            assert "ref" in str(error)
    manifest = dict.fromkeys(
        ("system", "ensemble_hash", "split", "frames", "n_atoms", "scale", "data_hash",
         "validation_hash", "ensemble"), value,
    )  # fmt: skip
    write_json(tmp_path / "manifest.json", manifest)
    with pytest.raises(MolflowError, match=str(tmp_path)):
        load_training_data(tmp_path)


def test_damaged_archives_are_a_sentence(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, x=np.random.default_rng(0).normal(size=500))
    whole = path.read_bytes()
    for place in (60, 200, 1000):  # in the compressed data
        path.write_bytes(whole[:place] + bytes(20) + whole[place + 20 :])
        with pytest.raises(MolflowError, match="a.npz' is damaged"):
            read_arrays(path)
    np.save(tmp_path / "b.npy", np.arange(3))
    shutil.move(tmp_path / "b.npy", path)  # another format by this name
    with pytest.raises(MolflowError, match="a.npz' is damaged"):
        read_arrays(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("terms.npy", b"\x93NUMPY\x01\x00\x76\x00{'descr': ('''")
    with pytest.raises(MolflowError, match="a.npz' is damaged"):
        load_bias(path)


def test_weights_with_a_garbled_header_are_a_sentence(tmp_path):
    path = tmp_path / "w.npy"
    np.save(path, np.arange(3.0))
    path.write_bytes(path.read_bytes().replace(b"(3,)", b"(((("))
    with pytest.raises(MolflowError, match="w.npy' does not hold one weight"):
        read_log_weights(path, 3, "the ensemble")


@pytest.mark.parametrize(
    ("code", "words"),
    [("import os; os.kill(os.getpid(), 11)", "ends the process that reads it .status -11"),
     ("while True: pass", "comes to no end")],
)  # fmt: skip
def test_files_that_would_end_the_process_end_another(code, words, tmp_path, monkeypatch):
    start = "from molflow.analysis import decoding; decoding._PATIENCE = 1; decoding._limit(0)\n"
    monkeypatch.setattr(decoding, "_PROGRAM", start + code)
    made = trajectory(3)
    made.save_xtc(str(tmp_path / "a.xtc"))
    made[0].save_pdb(str(tmp_path / "topology.pdb"))
    with pytest.raises(MolflowError, match=f"a.xtc' is damaged: .*{words}"):
        read_ensemble(tmp_path / "a.xtc", None)


class Gadget:
    def __reduce__(self):
        return exec, ("open('pickled', 'w').close()",)


@pytest.mark.parametrize("place", ["attribute", "weights"])
def test_nothing_pickled_in_hdf5_is_run(place, tmp_path, monkeypatch):
    """PyTables unpickles attributes that end in a dot, and arrays of objects."""
    tables = pytest.importorskip("tables")
    monkeypatch.chdir(tmp_path)
    trajectory(3).save_hdf5("a.h5")
    whole = read_ensemble("a.h5", None)
    with tables.open_file("a.h5", "a") as file:
        if place == "attribute":
            gadget = np.bytes_(pickle.dumps(Gadget(), 0))
            file.root.coordinates._v_attrs.units, file.root.time._v_attrs.units = gadget, gadget
        else:
            file.create_vlarray("/", "log_weights", tables.ObjectAtom()).append(Gadget())
    with pytest.raises(MolflowError, match="a.h5' cannot be read"):
        read_ensemble("a.h5", None)
    assert whole.n == 3 and not Path("pickled").exists()
    with tables.open_file("a.h5") as file:  # it would have been
        assert place == "weights" or file.root.time._v_attrs.units is None
        assert place == "attribute" or file.root.log_weights[:] == [None]
    assert Path("pickled").exists()


def test_a_reader_tells_what_it_stumbled_over():
    @reader
    def read(path, value):
        return {"a": 1}[value] + path.size

    for value, words in (("b", "KeyError: 'b'"), ("a", "AttributeError: 'str'")):
        with pytest.raises(MolflowError, match=f"'file' is damaged.*{words}"):
            read("file", value)


@pytest.fixture(scope="module")
def fuzz():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import fuzz
    finally:
        sys.path.remove(str(BENCHMARKS))
    return fuzz


READERS = [
    "a.dcd", "a.pdb", "a.gro", "a.cif", "topology.pdb", "record", "weights.npz", "weights.txt",
    "weights.npy", "reference", "simulation", "training set", "system", "configuration",
    "bias", "structure", "drawn", "AMBER", "CHARMM", "GROMACS", "System",
]  # fmt: skip


@pytest.fixture(scope="module")
def seeds(fuzz, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    fuzz.seeds(folder)
    return folder


@pytest.mark.parametrize("name", READERS)
def test_a_small_sample_of_mutated_files(name, fuzz, seeds, tmp_path):
    """What `benchmarks/fuzz.py` does for hours, with one seed, in this process."""
    target = next(target for target in fuzz.TARGETS if target.name == name)
    shutil.copytree(seeds / name, tmp_path / "now")
    whole = {file: (tmp_path / "now" / file).read_bytes() for file in target.files}
    rng, ends = random.Random(name), []
    target.read(tmp_path / "now")
    for _ in range(25):
        file = rng.choice(target.files)
        data = fuzz.mutated(whole[file], file, rng, whole[file])
        (tmp_path / "now" / file).write_bytes(data)
        try:
            target.read(tmp_path / "now")
            ends.append("read")
        except MolflowError as error:
            assert str(error)
            ends.append("sentence")
        (tmp_path / "now" / file).write_bytes(whole[file])
    assert ends.count("sentence") >= 3
