"""The command line: options of molflow itself, and its verbs in the order of their use.

Everything heavy is imported inside the verbs, so that ``molflow --help`` answers at once.
"""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

import molflow
from molflow.standard_output import without_remarks_of_c_code
from molflow.verbs.app import app

#: Modules of `molflow.verbs`; help lists the verbs as they are named here.
VERBS = (
    "systems", "setup", "simulation", "data", "label", "learn", "training", "sampling", "exact",
    "comparison", "checking", "run", "dynamics", "demonstration",
)  # fmt: skip


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"molflow {molflow.__version__}")
        raise typer.Exit()


@app.callback()
def _molflow(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Strong stochastic flow maps of molecular systems.

    A network learns the solution map of a stochastic differential equation: a few calls turn
    noise into independent conformations, and the same noise gives the same molecule at any
    number of steps.
    """


for _name in VERBS:
    importlib.import_module(f"molflow.verbs.{_name}")


def main() -> None:
    """Run the command line."""
    without_remarks_of_c_code()
    app()


if __name__ == "__main__":
    main()
