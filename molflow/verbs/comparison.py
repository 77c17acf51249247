"""The verbs that judge ensembles and make them ready for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molflow.verbs.app import verb
from molflow.verbs.arguments import Farmed, Quiet, Seed, Threads, jobs_of


@verb
def compare(
    ensemble: Annotated[
        Path,
        typer.Argument(
            metavar="ENSEMBLE", help="Trajectory: DCD, XTC, TRR, NetCDF, HDF5, PDB or GRO."
        ),
    ],
    reference: Annotated[
        str,
        typer.Option(
            help="A built-in system, a folder with a reference.json, a simulation, or a trajectory."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="HTML report; the same numbers go beside it as JSON.")
    ] = None,
    top: Annotated[
        Path | None,
        typer.Option(
            help="Topology: PDB, PSF, PRMTOP or GRO. Default: topology.pdb beside the trajectory."
        ),
    ] = None,
    reference_top: Annotated[
        Path | None,
        typer.Option(
            help="Topology of a reference that is a trajectory. Default: topology.pdb beside it, "
            "or --top."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Weights of the conformations: .npz with log_weights or weights, .npy, or text "
            "with one a line. Default: those that the ensemble brings."
        ),
    ] = None,
    reference_weights: Annotated[
        Path | None,
        typer.Option(help="Weights of the reference's frames, of all its replicas in their order."),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(
            help="System that a reference which is a trajectory is of: its force field gives "
            "energies."
        ),
    ] = None,
    offenders: Annotated[
        Path | None,
        typer.Option(
            help="Trajectory for samples that are broken, clashing or inverted; a table beside it "
            "says why."
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(help="Folder for the pictures as PDF and PNG, and report.pdf."),
    ] = None,
    frame_interval: Annotated[
        str | None,
        typer.Option(
            help="Time between frames, such as 1ps, if the ensemble is a trajectory: judges its "
            "order in time."
        ),
    ] = None,
    transport: Annotated[
        bool,
        typer.Option(help="Scores by exact optimal transport, which take seconds each."),
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Compare although the two ensembles differ.")
    ] = False,
    jobs: Farmed = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Compare an ensemble with reference MD.

    Every score stands beside its floor, the same score between two blocks of reference MD. Either
    side may be weighted.

    Example: `molflow compare ensemble.dcd --reference alanine_dipeptide --out report.html`
    """
    from molflow.comparison import compare as run
    from molflow.comparison import format_table

    result = run(
        ensemble,
        reference,
        out=out,
        top=top,
        reference_top=reference_top,
        weights=weights,
        reference_weights=reference_weights,
        system=system,
        offenders=offenders,
        figures=figures,
        frame_interval=frame_interval,
        exact_transport=transport,
        force=force,
        seed=seed,
        jobs=jobs_of(jobs),
    )
    typer.echo(format_table(result))
    if out is not None:
        typer.echo(f"Report in {out}.")
    if figures is not None:
        typer.echo(f"Pictures and report.pdf in {figures}.")
    if offenders is not None:
        table = offenders.with_suffix(".csv")
        typer.echo(
            f"Samples that failed a test in {offenders}, reasons in {table}."
            if offenders.exists()
            else f"No finite sample failed a test: there is no {offenders}, only {table}."
        )


@verb
def conformers(
    ensemble: Annotated[
        Path, typer.Argument(metavar="ENSEMBLE", help="Trajectory of a small molecule.")
    ],
    out: Annotated[Path, typer.Option(help="SDF to write.")],
    top: Annotated[
        Path | None, typer.Option(help="Topology. Default: topology.pdb beside the trajectory.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights, as for compare. Default: those that the ensemble brings."),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(help="System whose energy has the minima. Default: that of the record."),
    ] = None,
    molecule: Annotated[
        str | None,
        typer.Option(
            help="SDF, MOL, MOL2 or SMILES that says bond orders. Default: those with which init "
            "made the system, or such as fit the valences."
        ),
    ] = None,
    n: Annotated[
        int, typer.Option("--n", "-n", min=1, help="Conformations to follow to their minimum.")
    ] = 500,
    rmsd: Annotated[str, typer.Option(help="Minima nearer than that are one conformer.")] = "0.3A",
    energy_unit: Annotated[
        str, typer.Option(metavar="kJ/mol|kcal/mol", help="Of free energies.")
    ] = "kJ/mol",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Write the conformers of a small molecule, ranked by population.

    Conformers are minima of the energy, populated by what runs down to them. Exchanged symmetric
    atoms are no difference: turned methyl groups and flipped phenyl rings are the same conformer.
    Populations and free energies have intervals of 95 %.

    Example: `molflow conformers ensemble.dcd --out conformers.sdf`
    """
    from molflow.ranked_conformers import conformers as run
    from molflow.ranked_conformers import format_conformers

    found = run(
        ensemble, out, top=top, weights=weights, system=system, molecule=molecule, n=n, rmsd=rmsd,
        energy_unit=energy_unit, progress=not quiet,
    )  # fmt: skip
    typer.echo(format_conformers(found))
    typer.echo(f"{len(found['conformers'])} conformers of {found['n']:,} conformations in {out}.")


@verb
def resample(
    ensemble: Annotated[
        Path, typer.Argument(metavar="ENSEMBLE", help="Weighted trajectory, as for compare.")
    ],
    out: Annotated[Path, typer.Option(help="Trajectory to write: .dcd, .h5, .xtc or .pdb.")],
    n: Annotated[
        int | None,
        typer.Option(
            "--n", "-n", help="Conformations to draw. Default: what the weights are worth."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Weights: .npz with log_weights or weights, .npy, or text with one a line. "
            "Default: those that the ensemble brings."
        ),
    ] = None,
    top: Annotated[
        Path | None, typer.Option(help="Topology. Default: topology.pdb beside the trajectory.")
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Draw conformations of equal weight from a weighted ensemble.

    For programs that know nothing of weights; compare takes the weighted ensemble as it is. Each
    conformation is drawn as often as its weight asks for, so that heavy ones occur several times.

    Example: `molflow resample ensemble.dcd --weights weights.npz --out equal.dcd`
    """
    from molflow.resampling import resample as run

    found = run(ensemble, out, n, weights=weights, top=top, seed=seed)["resampled"]
    typer.echo(
        f"{found['n']:,} conformations in {out}, drawn from {found['of']:,} whose weights are "
        f"worth {found['effective']:,.0f}: {found['distinct']:,} different ones, "
        f"{found['copies']:,} copies, the most frequent {found['most']:,} times."
    )
