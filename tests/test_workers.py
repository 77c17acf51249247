"""Workers end with the process that started them, whatever they are at."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import ctypes, multiprocessing, os, time
from molflow.workers import end_with_parent

def work(pipe):
    end_with_parent()
    pipe.send(os.getpid())
    ctypes.PyDLL(None).sleep(60)  # holds the interpreter: no other thread comes to its turn

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    receiver, sender = context.Pipe(duplex=False)
    context.Process(target=work, args=(sender,)).start()
    print(receiver.recv(), flush=True)
    time.sleep(60)
"""


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread of the worker ends it")
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_worker_that_is_in_a_long_call_ends_with_its_killed_parent(method, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(method=method))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert runs(worker)
        parent.kill()
        parent.wait()
        end = time.monotonic() + 20  # a busy machine may take its time to bury it
        while runs(worker) and time.monotonic() < end:
            time.sleep(0.01)
        left = runs(worker)
        if left:
            os.kill(worker, signal.SIGKILL)
    assert not left
