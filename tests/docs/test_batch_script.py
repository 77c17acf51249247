"""The batch script of a farm, run as it stands with a scheduler and workers in processes here."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from molflow.files import read_arrays
from molflow.sampling.ensemble import sample

pytest.importorskip("distributed")

ROOT = Path(__file__).parents[2]
#: Conformations in place of a million, and tasks of the job in place of twenty.
COUNT, TASKS = 130, 2
#: What a batch scheduler's node has, by what this machine has.
COMMANDS = {
    "srun": f'for task in $(seq {TASKS}); do "$@" & done; wait',
    "hostname": "echo 127.0.0.1",
    "dask": f'verb=$1; shift; exec {sys.executable} -m distributed.cli.dask_$verb "$@"',
    "molflow": f'exec {sys.executable} -m molflow.cli "$@"',
}


def batch_script() -> str:
    """Return the script of the page that starts workers beside the scheduler."""
    page = (ROOT / "docs/how_to/clusters.md").read_text(encoding="utf-8")
    (found,) = (code for code in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
                if "#SBATCH" in code and "dask scheduler" in code)  # fmt: skip
    return found


def test_the_batch_script_makes_the_files_of_one_process(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = batch_script().replace("8786", port).replace("1000000", str(COUNT))
    (tmp_path / "job.sh").write_text(script)
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, line in COMMANDS.items():
        (commands / name).write_text(f"#!/bin/bash\n{line}\n")
        (commands / name).chmod(0o755)
    path = {"PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    with open(tmp_path / "log", "w+") as log:
        job = subprocess.Popen(
            ["bash", "job.sh"], cwd=tmp_path, env=os.environ | path, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            status = job.wait(timeout=400)
        finally:
            os.killpg(job.pid, signal.SIGKILL)  # as the batch scheduler does at the end
        log.seek(0)
        said = log.read()
    assert status == 0, said
    assert said.count("Registered to:") == TASKS, said
    torch.set_num_threads(1)
    sample("alanine_dipeptide", 4, COUNT, tmp_path / "one.dcd", device="cpu", progress=False)
    assert (tmp_path / "ensemble/a.dcd").read_bytes() == (tmp_path / "one.dcd").read_bytes()
    found, one = (read_arrays(tmp_path / f"{name}.npz") for name in ("ensemble/a", "one"))
    assert found.keys() == one.keys()
    assert all((found[name] == one[name]).all() for name in one)
