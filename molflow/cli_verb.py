"""What the verbs of the command line share: a failure is one sentence and an exit status."""

from __future__ import annotations

import functools
import tempfile
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

    Exit statuses: 2 for what the caller can put right, 130 for an interruption, 1 for an error
    in molflow or below it, whose traceback goes to a file, and for a check that failed.
    """

    @functools.wraps(function)
    def run(*arguments, **options):
        try:
            function(*arguments, **options)
        except typer.Exit:
            raise  # a status that the verb chose itself
        except MolflowError as error:
            _fail(str(error), 2)
        except KeyboardInterrupt:
            _fail("interrupted; run the same command again to resume", 130)
        except BrokenPipeError:
            raise  # the reader of our output has gone, as in `molflow systems | head -1`
        except Exception as error:
            what = traceback.format_exception_only(error)[-1].strip().partition("\n")[0]
            _fail(f"unexpected error, {what} (the traceback is in '{_write_log()}')", 1)

    app.command()(run)
    return run


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
