"""Damaged and hostile files: one sentence that names the file, whatever is in it."""

import ast
import pickle
import random
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "analysis"))
from synthetic import reference, trajectory

import molflow
from molflow.analysis.files import decoding
from molflow.analysis.files.ensemble import read_ensemble
from molflow.analysis.files.formats import BARE, COMPLETE, format_of
from molflow.analysis.files.weight_files import read_log_weights
from molflow.analysis.reference import load_reference
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
    start = (
        "from molflow.analysis.files import decoding\n"
        "decoding._PATIENCE = 1; decoding._limit(0)\n"
    )
    monkeypatch.setattr(decoding, "_PROGRAM", start + code)
    made = trajectory(3)
    made.save_xtc(str(tmp_path / "a.xtc"))
    made[0].save_pdb(str(tmp_path / "topology.pdb"))
    with pytest.raises(MolflowError, match=f"a.xtc' is damaged: .*{words}"):
        read_ensemble(tmp_path / "a.xtc", None)


def test_one_process_reads_a_file_however_often(tmp_path, monkeypatch):
    started, start = [], decoding.subprocess.Popen
    monkeypatch.setattr(
        decoding.subprocess, "Popen", lambda *a, **k: started.append(start(*a, **k)) or started[-1]
    )
    made, path = trajectory(30), tmp_path / "ä.h5"  # which mdtraj reads by another name
    made.save_hdf5(str(path))
    found = read_ensemble(path, None)
    next(found.chunks(1))
    for _ in range(2):
        read = np.concatenate([part.xyz for part in found.chunks(7)])
        assert np.array_equal(read, made.xyz)
    assert np.array_equal(found.positions_at(np.array([3, 21])), made.xyz[[3, 21]])
    assert len(started) == 1
    made[:5].save_hdf5(str(path))  # another file of this name
    assert read_ensemble(path, None).n == 5 and len(started) == 2
    started[-1].kill()  # as it does itself when nothing is asked for long
    started[-1].wait()
    assert read_ensemble(path, None).n == 5 and len(started) == 3
    decoding.close_idle()
    assert all(process.poll() is not None for process in started)


@pytest.mark.skipif(sys.platform != "linux", reason="limits are set on Linux")
def test_a_process_that_reads_again_has_all_its_patience_again():
    code = (
        "import resource, time\nfrom molflow.analysis.files import decoding\nfound = []\n"
        "for _ in range(2):\n    decoding._limit(0)\n    end = time.process_time() + 1.1\n"
        "    while time.process_time() < end:\n        pass\n"
        "    found.append(resource.getrlimit(resource.RLIMIT_CPU)[0])\nprint(*found)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = map(int, done.stdout.split())
    assert second > first >= decoding._PATIENCE


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

    @reader
    def unpack(path):
        return zlib.decompress(b"garbled")  # an error of its own kind

    with pytest.raises(MolflowError, match="'file' is damaged.*error: Error -3"):
        unpack("file")


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
    "bias", "structure", "drawn", "AMBER", "CHARMM", "GROMACS", "System", "a.pdb.gz", "a.rst7",
    "frames of a simulation", "paths", "slow modes", "topology.prmtop", "topology.psf",
]  # fmt: skip


@pytest.fixture(scope="module")
def seeds(fuzz, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    fuzz.seeds(folder)
    return folder


def test_every_reader_of_the_package_is_among_those_that_are_fuzzed(fuzz, seeds):
    """What is decorated as a reader, and every format of trajectories that mdtraj can write."""
    package, marked = Path(molflow.__file__).parent, set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [getattr(mark, "id", "") for mark in getattr(node, "decorator_list", ())]
            if "reader" in names:
                marked.add((path.name, node.name))
    called = set()

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(str(package)):
            called.add((Path(frame.f_code.co_filename).name, frame.f_code.co_name))

    sys.setprofile(note)
    try:
        for target in fuzz.TARGETS:
            target.read(seeds / target.name)
    finally:
        sys.setprofile(None)
    assert len(marked) >= 9 and marked <= called
    fuzzed = {format_of(name) for target in fuzz.TARGETS for name in target.files}
    other_names = {".crd", ".restrt", ".ncdf", ".netcdf", ".hdf5", ".lh5", ".mmcif", ".pdbx"}
    packed = {".cif.gz", ".mmcif.gz", ".pdbx.gz"}  # unpacked as .pdb.gz is
    unwritten = {".arc"}
    assert {*BARE, *COMPLETE} - fuzzed <= other_names | packed | unwritten


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
