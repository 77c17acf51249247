"""Tasks in processes that each keep one object built: on this machine, or on a Dask cluster."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from molflow.errors import MolflowError
from molflow.md.workers import caller_not_rerun, end_with_parent, number_of_jobs, spawning
from molflow.system_files import read_yaml

T = TypeVar("T")
K = TypeVar("K")

#: Where tasks are done: a number of processes, one per core if None, or a Dask cluster.
Jobs = int | str | None
#: Seconds in which a scheduler answers.
_PATIENCE = 20
_ADDRESSES = ("tcp://", "tls://", "ucx://", "ws://", "wss://")
_CLUSTERS = {
    "slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster",
    "htcondor": "HTCondorCluster",
}  # fmt: skip


class Farm(Generic[T]):
    """Processes that each make one object, once, and call its methods.

    What comes back depends on the tasks alone. Use it as a context: processes start with the first
    tasks and end with it.

    Parameters
    ----------
    make : callable
        Makes the object, in each process; it has to be pickled, such as a `functools.partial`.
    jobs : int or str, optional
        Processes of this machine, by default one per core; one is the caller's own. Or the address
        of a Dask scheduler, ``tcp://HOST:PORT``, or a YAML file that says what cluster to start:
        ``cluster`` (``local``, ``slurm``, ``pbs``, ``lsf``, ``sge``, ``htcondor``), ``jobs``, and
        keywords of that cluster's class in ``distributed`` or ``dask_jobqueue``.
    tasks : int
        At most so many processes have work.

    Raises
    ------
    MolflowError
        If `jobs` is none of these, Dask is not installed, or its scheduler does not answer.
    """

    def __init__(self, make: Callable[[], T], jobs: Jobs, tasks: int = 1_000_000):
        self.make = make
        self.cluster = _Cluster(jobs, make) if isinstance(jobs, str) else None
        self.jobs = None if isinstance(jobs, str) else number_of_jobs(jobs, tasks)
        self._made: T | None = None
        self._pool: Executor | None = None

    def __enter__(self) -> Farm[T]:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self.cluster is not None:
            self.cluster.close()
        self._pool = self._made = None

    def each(self, method: str, tasks: Mapping[K, tuple]) -> Iterator[tuple[K, Any]]:
        """Yield the key of every task and what the object's method returned, in any order.

        Parameters
        ----------
        method : str
            Name of a method of the object.
        tasks : mapping
            Arguments by key.

        Raises
        ------
        MolflowError
            If a cluster is lost meanwhile.
        """
        if self.jobs == 1:
            if tasks:
                self._made = self.make() if self._made is None else self._made
            for key, arguments in tasks.items():
                yield key, getattr(self._made, method)(*arguments)
            return
        with caller_not_rerun():
            submitted = {self._submit(method, *task): key for key, task in tasks.items()}
        try:
            for done in as_completed(submitted):
                yield submitted[done], self._result(done)
        finally:
            for future in submitted:
                future.cancel()

    def _submit(self, method: str, *arguments):
        if self.cluster is not None:
            return self.cluster.submit(method, *arguments)
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.jobs, mp_context=spawning, initializer=_prepare, initargs=(self.make,)
            )
        return self._pool.submit(_work, method, *arguments)

    def _result(self, future):
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise MolflowError(
                "a process died at its work, perhaps for lack of memory: give fewer jobs, and run "
                "the same command again to resume."
            ) from error
        except Exception as error:
            if self.cluster is None:
                raise
            raise self.cluster.explained(error) from error


_prepared: list[Any] = []


def _prepare(make: Callable[[], Any]) -> None:
    end_with_parent()
    _prepared[:] = [make()]


def _work(method: str, *arguments):
    return getattr(_prepared[0], method)(*arguments)


class _Cluster:
    """A Dask cluster, of which every thread of a worker keeps the object."""

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
        # Sent once, however many tasks there are.
        self.make = self.client.scatter(make, hash=False)

    def submit(self, method: str, *arguments):
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
        self.client.close()
        if self.own is not None:
            self.own.close()


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
