"""What the verbs of the command line share: a failure is one sentence and an exit status."""

from __future__ import annotations

import errno
import functools
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import typer

from molflow.errors import MolflowError

LOG_NAME = "molflow-error.log"

app = typer.Typer(
    name="molflow",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="To begin with: molflow demo",
)


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Register a function as a verb whose failures are told in one sentence.

    Exit statuses: 2 for what the caller can put right, 130 for an interruption, 143 for SIGTERM and
    1 for an error in molflow or below it, whose traceback goes to a file, and for a check that
    failed.
    """

    @functools.wraps(function)
    def run(*arguments, **options):
        before = _tell_of_termination()
        try:
            function(*arguments, **options)
        except typer.Exit:
            raise  # a status that the verb chose itself
        except MolflowError as error:
            _fail(str(error), 2)
        except Terminated:
            _fail("terminated; run the same command again to resume", 143)
        except KeyboardInterrupt:
            _fail("interrupted; run the same command again to resume", 130)
        except BrokenPipeError:
            raise  # the reader of our output has gone, as in `molflow systems | head -1`
        except Exception as error:
            if _disk_is_full(error):
                _fail("the disk is full: make room and run the same command again to resume", 2)
            what = traceback.format_exception_only(error)[-1].strip().partition("\n")[0]
            _fail(f"unexpected error, {what} (the traceback is in '{_write_log()}')", 1)
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)

    app.command()(run)
    return run


class Terminated(KeyboardInterrupt):
    """The process was asked to end."""


def _terminate(number, frame) -> None:
    raise Terminated


def _tell_of_termination():
    """Make SIGTERM an exception, and return what it did before, if this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, _terminate)


def _disk_is_full(error: BaseException | None) -> bool:
    """Return whether an error is of a disk without room, or comes from one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _fail(sentence: str, status: int) -> None:
    typer.echo(f"molflow: {sentence}", err=True)
    raise typer.Exit(status)


def _write_log() -> Path:
    """Write the traceback being handled here, or where temporary files go, and return the path."""
    text = traceback.format_exc()
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            (folder / LOG_NAME).write_text(text, encoding="utf-8")
        except OSError:
            continue
        return folder / LOG_NAME
    typer.echo(text, err=True)
    return Path("stderr")
