"""Ctrl-C and SIGTERM while something is imported that would swallow them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heard_afterwards() -> Iterator[None]:
    """Hold signals that end a process until the body is through, then let them do what they do.

    deeptime tries what is installed by imports that turn every exception into a warning, Ctrl-C
    included, after which a command would go on as if nobody had pressed it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for held, handler in before.items():
            # None: a handler that was not set from Python, which cannot be put back from here.
            signal.signal(held, signal.SIG_DFL if handler is None else handler)
        for number in came[:1]:
            signal.raise_signal(number)
