"""Tasks in processes that each keep one object built: on this machine, or on a Dask cluster."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, TypeVar

from molflow.clusters import Cluster
from molflow.errors import MolflowError
from molflow.workers import caller_not_rerun, end_with_parent, number_of_jobs, spawning

T = TypeVar("T")
K = TypeVar("K")

#: Where tasks are done: a number of processes, one per core if None, or a Dask cluster.
Jobs = int | str | None
#: Tasks that wait for each worker, so that none waits for the caller.
_AHEAD = 2


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
    gpus : sequence of str
        GPUs of this machine by the names that ``CUDA_VISIBLE_DEVICES`` takes: each process sees
        one, in turn.

    Raises
    ------
    MolflowError
        If `jobs` is none of these, Dask is not installed, or its scheduler does not answer.
    """

    def __init__(
        self,
        make: Callable[[], T],
        jobs: Jobs,
        tasks: int = 1_000_000,
        gpus: Sequence[str] = (),
    ):
        self.make, self.gpus = make, tuple(gpus)
        self.cluster = Cluster(jobs, make) if isinstance(jobs, str) else None
        self.jobs = None if isinstance(jobs, str) else number_of_jobs(jobs, tasks)
        self._made: T | None = None
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Farm[T]:
        return self

    def __exit__(self, kind: object = None, *_: object) -> None:
        if self._pool is not None:
            if kind is not None:  # nobody waits for what they are at
                for process in list((self._pool._processes or {}).values()):
                    process.terminate()
            self._pool.shutdown(cancel_futures=True)
        if self.cluster is not None:
            self.cluster.close()
        self._pool = self._made = None

    @property
    def workers(self) -> int:
        """How many tasks are done at once; those of a cluster come and go."""
        if self.cluster is not None:
            return self.cluster.workers()
        assert self.jobs is not None, "there is no cluster"
        return self.jobs

    def each(
        self,
        method: str,
        tasks: Mapping[K, tuple] | Iterable[tuple[K, tuple]],
        then: Callable[[K, Any], tuple | None] | None = None,
        ahead: int = _AHEAD,
    ) -> Iterator[tuple[K, Any]]:
        """Yield the key of every task and what the object's method returned, in any order.

        Parameters
        ----------
        method : str
            Name of a method of the object.
        tasks : mapping, or iterable of pairs
            Arguments by key. An iterable is asked for more when there are workers for it.
        then : callable, optional
            Called with a key and what came back, after that was yielded: the arguments of the task
            that follows under the same key, or None.
        ahead : int
            Tasks that are handed out at once for each worker.

        Raises
        ------
        MolflowError
            If a cluster is lost meanwhile.
        """
        waiting = iter(tasks.items() if isinstance(tasks, Mapping) else tasks)
        if self.jobs == 1:
            for key, arguments in waiting:
                following: tuple | None = arguments
                while following is not None:
                    self._made = self.make() if self._made is None else self._made
                    found = getattr(self._made, method)(*following)
                    yield key, found
                    following = None if then is None else then(key, found)
            return
        done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        running: dict[Future, K] = {}

        def hand_out(key: K, arguments: tuple) -> None:
            with caller_not_rerun():
                future = self._submit(method, *arguments)
            running[future] = key
            future.add_done_callback(done.put)

        def fill() -> None:
            while len(running) < ahead * self.workers:
                task = next(waiting, None)
                if task is None:
                    return
                hand_out(*task)

        try:
            fill()
            while running:
                future = done.get()
                key = running.pop(future)
                found = self._result(future)
                yield key, found
                following = None if then is None else then(key, found)
                if following is not None:
                    hand_out(key, following)
                fill()
        finally:
            for future in running:
                future.cancel()

    def _submit(self, method: str, *arguments) -> Future:
        if self.cluster is not None:
            return self.cluster.submit(method, *arguments)
        if self._pool is None:
            numbers = spawning.Value("i", 0) if self.gpus else None
            self._pool = ProcessPoolExecutor(
                self.jobs, mp_context=spawning, initializer=_prepare,
                initargs=(self.make, self.gpus, numbers),
            )  # fmt: skip
        return self._pool.submit(_work, method, *arguments)

    def _result(self, future: Future):
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


_making: list[Callable[[], Any]] = []
_made: list[Any] = []


def _prepare(make: Callable[[], Any], gpus: Sequence[str], numbers: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C for all
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which it ends those that it needs no more
    end_with_parent()
    if numbers is not None:  # before anything looks for GPUs
        with numbers.get_lock():
            number, numbers.value = numbers.value, numbers.value + 1
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    _making[:] = [make]


def _work(method: str, *arguments):
    if not _made:  # with the first task, so that its caller is told what goes wrong
        _made.append(_making[0]())
    return getattr(_made[0], method)(*arguments)
