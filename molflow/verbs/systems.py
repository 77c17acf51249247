"""The verb that lists what is built in."""

from __future__ import annotations

import typer

from molflow.verbs.app import verb


@verb
def systems() -> None:
    """List the built-in systems, the selections of their atoms, and maps of many molecules."""
    from molflow.systems import built_in_systems, load_system
    from molflow.training.checkpoint import maps_of_many

    for name in built_in_systems():
        system = load_system(name)
        typer.echo(f"{name}\n    {system.description}")
        typer.echo(
            f"    {system.temperature:g} K, friction {system.friction:g}/ps, "
            f"time step {system.timestep:g} fs, constraints: {system.constraints}"
        )
        for key, selection in system.selections.items():
            typer.echo(f"    {name}:{key}  {len(selection.atoms)} atoms, {selection.description}")
    for name, molecules in maps_of_many().items():
        typer.echo(f"{name}\n    no system: a map of many molecules, which takes one as --system")
        typer.echo(f"    trained on {', '.join(molecules)}")
