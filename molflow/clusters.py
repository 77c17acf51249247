"""Dask clusters: those that run somewhere, by address, and those that a file describes."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from molflow.errors import MolflowError
from molflow.system_files import read_yaml

#: Seconds in which a scheduler answers.
_PATIENCE = 20
#: Tasks that are handed out to it at least, and seconds after which its workers are counted again.
_FEWEST, _COUNT_EVERY = 64, 2.0
_ADDRESSES = ("tcp://", "tls://", "ucx://", "ws://", "wss://")
_CLUSTERS = {
    "slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster",
    "htcondor": "HTCondorCluster",
}  # fmt: skip


class Cluster:
    """A Dask cluster, of which every thread of a worker keeps the object that is made there.

    Parameters
    ----------
    where : str
        Address of a scheduler, or a YAML file, see `molflow.farm.Farm`.
    make : callable
        Makes the object.

    Raises
    ------
    MolflowError
        If it is neither, Dask is not installed, or the scheduler does not answer.
    """

    def __init__(self, where: str, make: Callable[[], Any]):
        if find_spec("distributed") is None:
            raise MolflowError(
                f"jobs is '{where}', and Dask is not installed: pip install 'molflow[cluster]', or "
                "give a number of processes."
            )
        import distributed

        self.where, self.own = where, None if where.startswith(_ADDRESSES) else _started(where)
        try:
            self.client = distributed.Client(
                self.own or where, timeout=_PATIENCE, set_as_default=False
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise MolflowError(
                f"jobs is '{where}', and no Dask scheduler answers there: start one with dask "
                "scheduler, and workers with dask worker ADDRESS --nthreads 1."
            ) from error
        self.executor = self.client.get_executor(pure=False)
        self.key = uuid.uuid4().hex
        self._threads, self._counted = 0, -_COUNT_EVERY
        # Sent once, however many tasks there are; as a task, which is done again where the worker
        # that had it has died.
        self.make = self.client.submit(_same, make, pure=False)

    def workers(self) -> int:
        """Return how many tasks it may do at once: others than are there now may come."""
        now = time.monotonic()
        if now - self._counted > _COUNT_EVERY and self.client.status == "running":
            self._counted = now
            with suppress(OSError):  # it is lost: tasks say so
                self._threads = sum(self.client.nthreads().values())
        return max(_FEWEST, self._threads)

    def submit(self, method: str, *arguments) -> Future:
        """Have a worker call a method of the object."""
        return self.executor.submit(_work_there, self.make, self.key, method, *arguments)

    def explained(self, error: Exception) -> Exception:
        """Return a sentence for what happens to clusters, and the error itself otherwise."""
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker

        if isinstance(error, KilledWorker):
            return MolflowError(
                f"workers of '{self.where}' died several times over the same task, perhaps for "
                "lack of memory: give them more, and run the same command again to resume."
            )
        if isinstance(error, (CancelledError, CommClosedError, OSError)):
            return MolflowError(
                f"the Dask scheduler of '{self.where}' is lost: start it, and run the same command "
                "again to resume."
            )
        return error

    def close(self) -> None:
        """Leave it; one that was started here ends."""
        self.client.close()
        if self.own is not None:
            self.own.close()


def _same(make: Callable[[], Any]) -> Callable[[], Any]:
    return make


_here = threading.local()


def _work_there(make: Callable[[], Any], key: str, method: str, *arguments):
    """Call a method of the object of a farm, which is made once in every thread."""
    if getattr(_here, "key", None) != key:
        _here.made, _here.key = make(), key
    return getattr(_here.made, method)(*arguments)


def _started(where: str):
    """Return the cluster that a YAML file describes, started."""
    path = Path(where)
    if path.suffix not in (".yaml", ".yml"):
        raise MolflowError(
            f"jobs is '{where}': give a number of processes, the address of a Dask scheduler such "
            "as tcp://localhost:8786, or a YAML file that describes a cluster."
        )
    settings = read_yaml(path)
    kind, jobs = settings.pop("cluster", None), settings.pop("jobs", None)
    if kind == "local":
        from distributed import LocalCluster

        cluster = LocalCluster
        settings = {
            "n_workers": jobs,
            "threads_per_worker": 1,
            "dashboard_address": ":0",
        } | settings
    elif kind in _CLUSTERS and find_spec("dask_jobqueue") is not None:
        import dask_jobqueue

        cluster = getattr(dask_jobqueue, _CLUSTERS[kind])
    elif kind in _CLUSTERS:
        raise MolflowError(
            f"'{path}' describes a cluster of {kind}, and dask-jobqueue is not installed: "
            "pip install 'molflow[cluster]'."
        )
    else:
        raise MolflowError(
            f"'{path}' has cluster: {kind}: choose one of local, {', '.join(_CLUSTERS)}."
        )
    try:
        started: Any = cluster(**settings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MolflowError(f"'{path}' does not describe a cluster of {kind}: {error}.") from error
    if jobs is not None and kind != "local":
        started.scale(jobs=jobs)
    return started
