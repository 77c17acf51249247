"""The same results on this machine and on a Dask cluster, whose workers may die."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from molflow import clusters
from molflow.errors import MolflowError
from molflow.exact.weighted import sample_weighted
from molflow.farm import Farm
from molflow.files import read_arrays
from molflow.md.label import label
from molflow.md.simulate import simulate
from molflow.propagation.propagate import propagate
from molflow.sampling.ensemble import sample
from molflow.systems import load_system

distributed = pytest.importorskip("distributed")

TASKS = {k: (k,) for k in range(12)}


class Squares:
    """Counts how often it was made, in a file a process, and dies once where it is told to."""

    def __init__(self, folder, deadly=None):
        self.folder, self.deadly = Path(folder), deadly
        with open(self.folder / f"made-{os.getpid()}", "a") as file:
            file.write("x")

    def square(self, k):
        if k == self.deadly and not (self.folder / "died").exists():
            (self.folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return k * k

    def nap(self, k):
        time.sleep(0.1)

    def gpu(self, k):
        until = time.monotonic() + 60  # there is another process, however late it begins
        while len(made(self.folder)) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        return os.environ.get("CUDA_VISIBLE_DEVICES")

    def refuse(self, k):
        raise MolflowError(f"{k} is refused.")


WANTED = {k: k * k for k in TASKS}


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as started:
        yield started


@pytest.fixture(params=[1, 2, "address", "file"])
def jobs(request, tmp_path):
    if request.param == "address":
        return request.getfixturevalue("cluster").scheduler_address
    if request.param == "file":
        path = tmp_path / "cluster.yaml"
        path.write_text("cluster: local\njobs: 1\nprocesses: false\n")
        return str(path)
    return request.param


def made(folder):
    """Return how often each process has made the object."""
    return [len(path.read_text()) for path in folder.glob("made-*")]


def test_each_process_makes_the_object_once(jobs, tmp_path):
    with Farm(partial(Squares, tmp_path), jobs) as farm:
        assert dict(farm.each("square", TASKS)) == WANTED
        assert dict(farm.each("square", TASKS)) == WANTED
        with pytest.raises(MolflowError, match="is refused"):
            list(farm.each("refuse", TASKS))
    assert set(made(tmp_path)) == {1}
    assert len(made(tmp_path)) <= 2


def test_the_work_of_a_worker_that_died_is_done_by_another(cluster, tmp_path):
    with Farm(partial(Squares, tmp_path, 5), cluster.scheduler_address) as farm:
        assert dict(farm.each("square", TASKS)) == WANTED
    assert (tmp_path / "died").exists()


def test_no_worker_is_needed_for_what_the_others_do(cluster, tmp_path):
    """All die one after the other; what they were sent at the beginning is with the scheduler."""
    with Farm(partial(Squares, tmp_path), cluster.scheduler_address) as farm:
        assert dict(farm.each("square", TASKS)) == WANTED
        for worker in list(cluster.workers.values()):
            os.kill(worker.process.pid, signal.SIGKILL)
        assert dict(farm.each("square", TASKS)) == WANTED
    assert len(made(tmp_path)) > 2


def test_a_process_that_dies_here_is_told(tmp_path):
    with (
        Farm(partial(Squares, tmp_path, 5), 2) as farm,
        pytest.raises(MolflowError, match="a process died at its work"),
    ):
        dict(farm.each("square", TASKS))


def test_a_scheduler_that_is_lost_is_told(tmp_path):
    own = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
    )
    with own, Farm(partial(Squares, tmp_path), own.scheduler_address) as farm:
        assert dict(farm.each("square", TASKS)) == WANTED
        found = farm.each("nap", {k: (k,) for k in range(100)})
        next(found)
        own.close()
        with pytest.raises(MolflowError, match="the Dask scheduler of 'tcp://.*' is lost"):
            for _ in found:
                pass


def test_labels_are_those_of_one_process_bit_by_bit(cluster, tmp_path):
    system = load_system("alanine_dipeptide")
    start = system.start_positions()
    noise = 0.002 * np.random.default_rng(0).standard_normal((30, *start.shape))
    from molflow.trajectories import write_trajectory

    write_trajectory(tmp_path / "frames.h5", (start + noise).astype(np.float32), system.topology())
    found = []
    for name, jobs in (("one", 1), ("cluster", cluster.scheduler_address)):
        label(tmp_path / "frames.h5", system, tmp_path / name, jobs=jobs, progress=False)
        files = sorted((tmp_path / name).glob("*.npz"))
        found.append({path.name: dict(np.load(path)) for path in files})
    assert found[0].keys() == found[1].keys() and found[0]
    for name, arrays in found[0].items():
        for key, value in arrays.items():
            np.testing.assert_array_equal(value, found[1][name][key])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "jobs is 'nonsense': give a number of processes, the address of a Dask scheduler"),
        ("cluster: cloud\n", "has cluster: cloud: choose one of local, slurm"),
        ("cluster: slurm\n", "does not describe a cluster of slurm"),
    ],
)
def test_what_is_no_cluster_is_said(tmp_path, text, sentence):
    where = "nonsense"
    if text is not None:
        where = str(tmp_path / "cluster.yaml")
        Path(where).write_text(text)
    with pytest.raises(MolflowError, match=sentence):
        Farm(partial(Squares, tmp_path), where)


def test_a_scheduler_that_does_not_answer_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "_PATIENCE", 0.5)
    with pytest.raises(MolflowError, match="no Dask scheduler answers there: start one"):
        Farm(partial(Squares, tmp_path), "tcp://127.0.0.1:9")


def test_without_dask_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "find_spec", lambda name: None)
    with pytest.raises(MolflowError, match=r"pip install 'molflow\[cluster\]'"):
        Farm(partial(Squares, tmp_path), "tcp://127.0.0.1:9")


def test_tasks_follow_each_other_and_more_are_asked_for_when_there_is_room(jobs, tmp_path):
    asked, found = [], {k: [] for k in range(20)}

    def tasks():
        for k in found:
            asked.append(k)
            yield k, (k + 2,)

    def then(k, value):
        found[k].append(value)
        return (value,) if value < 100 else None

    with Farm(partial(Squares, tmp_path), jobs) as farm:
        for count, (_, _) in enumerate(farm.each("square", tasks(), then, ahead=1)):
            if isinstance(jobs, int):
                assert len(asked) <= jobs + count
    # Squares of squares, up to the first that is not below 100.
    expected = [[(k + 2) ** 2] for k in range(20)]
    for chain in expected:
        while chain[-1] < 100:
            chain.append(chain[-1] ** 2)
    assert list(found.values()) == expected


def assert_same_files(first, second, but=()):
    """But for records, which hold times of the clock."""
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir()) and len(names) >= 3
    for name in names:
        if not name.endswith(".json") and name not in but:
            assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_simulations_are_those_of_one_process_bit_by_bit(cluster, tmp_path):
    """Three replicas under a bias, on two workers that take turns."""
    settings = {
        "time": "2.2ps", "replicas": 3, "frame_interval": "10fs", "equilibration": "0.2ps",
        "platform": "Reference", "flatten": "phi", "building": "2ps", "progress": False,
    }  # fmt: skip
    for name, jobs in (("one", 1), ("cluster", cluster.scheduler_address)):
        simulate("alanine_dipeptide", out=tmp_path / name, jobs=jobs, **settings)
    assert_same_files(tmp_path / "one", tmp_path / "cluster")
    with pytest.raises(MolflowError, match="seconds is 9 and jobs is 'tcp://.* Give one of them"):
        simulate("alanine_dipeptide", out=tmp_path / "other", jobs="tcp://x", seconds=9, **settings)


def test_samples_weights_and_energies_are_those_of_one_process_bit_by_bit(cluster, tmp_path):
    asked = (("one", 1), ("cluster", cluster.scheduler_address))
    torch.set_num_threads(1)
    for name, jobs in asked:
        settings = {"device": "cpu", "progress": False, "jobs": jobs}
        sample("alanine_dipeptide", 1, 200, tmp_path / name / "a.dcd", batch_size=64, **settings)
        sample_weighted("alanine_dipeptide", 17, tmp_path / name / "b.dcd", 1, **settings)
    assert_same_files(tmp_path / "one", tmp_path / "cluster", but=("b.npz",))
    stored = [read_arrays(tmp_path / name / "b.npz") for name, _ in asked]
    for name in ("energies", "log_weights", "log_density"):
        np.testing.assert_array_equal(stored[0][name], stored[1][name])
    assert len(read_arrays(tmp_path / "one" / "a.npz")["energies"]) == 200


def test_chains_are_those_of_one_process_bit_by_bit(cluster, tmp_path):
    """Five groups of chains, of which some are of two blocks of paths."""
    torch.set_num_threads(1)
    start = load_system("alanine_dipeptide").structure_path
    for name, jobs in (("one", 1), ("cluster", cluster.scheduler_address)):
        propagate(
            "alanine_dipeptide:dynamics", start, "0.4ps", "10fs", tmp_path / name / "a.dcd",
            chains=70, batch_size=15, save="10fs", device="cpu", progress=False, jobs=jobs,
        )  # fmt: skip
    assert_same_files(tmp_path / "one", tmp_path / "cluster")


def test_processes_of_this_machine_have_a_gpu_each(tmp_path):
    with Farm(partial(Squares, tmp_path), 2, gpus=("3", "GPU-8f")) as farm:
        seen = {value for _, value in farm.each("gpu", TASKS)}
    assert seen == {"3", "GPU-8f"}
