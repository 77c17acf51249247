"""The verb that lists what is built in."""

from __future__ import annotations

import typer

from molflow.verbs.app import verb


@verb
def systems() -> None:
    """List the built-in systems and the selections of their atoms."""
    from molflow.systems import built_in_systems, load_system

    for name in built_in_systems():
        system = load_system(name)
        typer.echo(f"{name}\n    {system.description}")
        typer.echo(
            f"    {system.temperature:g} K, friction {system.friction:g}/ps, "
            f"time step {system.timestep:g} fs, constraints: {system.constraints}"
        )
        for key, selection in system.selections.items():
            typer.echo(f"    {name}:{key}  {len(selection.atoms)} atoms, {selection.description}")
