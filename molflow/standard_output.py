"""Standard output that belongs to Python alone."""

from __future__ import annotations

import os
import sys


def without_remarks_of_c_code() -> None:
    """Send what C code prints to nowhere; what Python prints goes where it went.

    mdtraj's reader of DCD prints two lines for every file that it opens, among the results. They
    are written to file descriptor 1, which is why that one is exchanged, for the whole process.
    """
    try:
        descriptor = sys.stdout.fileno()
        own = os.dup(descriptor)
    except (AttributeError, OSError, ValueError):  # closed, or not a file
        return
    sys.stdout.flush()
    sys.stdout = open(  # noqa: SIM115  (open as long as the process)
        own,
        "w",
        encoding=sys.stdout.encoding,
        errors=sys.stdout.errors,
        buffering=1 if os.isatty(own) else -1,
    )
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)
