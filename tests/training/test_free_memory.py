"""The memory that a process may take, in made-up trees of Linux's ``/proc`` and ``/sys``."""

import sys

import pytest

from molflow.training.free_memory import free_memory

GB = 10**9
MACHINE = {"proc/meminfo": "MemTotal:  9999999 kB\nMemAvailable:  8000000 kB\n"}
V1 = "sys/fs/cgroup/memory/slurm/job_7"
V2 = "sys/fs/cgroup/system.slice/job_7"


def group_1(folder, limit, used, files=0):
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{used}\n",
        f"{folder}/memory.stat": f"cache 77\ninactive_file 1\ntotal_inactive_file {files}\n",
    }


def group_2(folder, limit, used, files=0):
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": f"anon 77\ninactive_file {files}\n",
    }


TREES = {
    "nothing known": ({}, None),
    "a machine": (MACHINE, 8_192_000_000),
    "a job of SLURM, limited above its step": (
        MACHINE
        | {"proc/self/cgroup": "9:cpu,cpuacct:/slurm\n4:memory:/slurm/job_7/step_0\n0::/\n"}
        | group_1(f"{V1}/step_0", 2**63 - 4096, GB)
        | group_1(V1, 4 * GB, 3 * GB, GB // 2),
        3 * GB // 2,
    ),
    "groups of version 2, the higher the tighter": (
        MACHINE
        | {"proc/self/cgroup": "0::/system.slice/job_7\n"}
        | group_2(V2, 6 * GB, GB)
        | group_2("sys/fs/cgroup/system.slice", 5 * GB, 2 * GB, 1000),
        3 * GB + 1000,
    ),
    "no limit of version 2": (
        MACHINE | {"proc/self/cgroup": "0::/system.slice/job_7\n"} | group_2(V2, "max", GB),
        8_192_000_000,
    ),
    "a container, which sees its own group as the highest": (
        MACHINE
        | {"proc/self/cgroup": "4:memory:/docker/abc\n"}
        | group_1("sys/fs/cgroup/memory", 2 * GB, GB),
        GB,
    ),
    "a group that has more than it may have": (
        MACHINE | {"proc/self/cgroup": "0::/system.slice/job_7\n"} | group_2(V2, GB, GB + 1),
        0,
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_the_tightest_limit_counts(name, tmp_path):
    files, wanted = TREES[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert free_memory(tmp_path) == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_the_limit_on_addresses_counts_and_this_machine_has_memory(monkeypatch):
    import resource

    free = free_memory()
    assert 2**26 < free < 2**50
    limit = 2**50
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, resource.RLIM_INFINITY))
    limited = free_memory()
    assert limited <= free
    limit = free // 2  # of which the addresses of this process are taken
    assert free_memory() < free // 2
