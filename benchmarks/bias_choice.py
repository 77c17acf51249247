"""How high and how flat a bias should be: errors that a diffusion on the free energy foretells.

    python benchmarks/bias_choice.py

On the free energy F of alanine dipeptide in phi and psi (`reference-flattened`), as a diffusion of
equal speed everywhere, under the bias -(1 - 1/contrast) min(F, cap). For an average with weights
the error after a time T is the root of s / T, s = 2 <a, u> with -L u = a, L the generator under the
bias and a the weighted deviation (the central limit theorem of reversible diffusions, Kipnis and
Varadhan, Commun. Math. Phys. 104, 1 (1986)). Printed are s for the free energy of alpha-L and for
the map of free energy below 6 kT, as multiples of the least in the table, and the share of frames
that the weights leave. Writes ``benchmarks/results/bias_choice.json``.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from record import command_line, environment
from scipy.sparse.linalg import splu

from molflow.analysis.reference import load_reference
from molflow.analysis.torsion_metrics import free_energy, in_alpha_l, smoothed_density
from molflow.files import write_json
from molflow.systems import load_system
from molflow.units import thermal_energy

CAPS, CONTRASTS = (22.0, 30.0, 35.0, 40.0, 45.0), (3.0, 5.0, 8.0, 12.0, 1e6)
#: Cells in each torsion, and every how many of those below 6 kT are looked at.
CELLS, STRIDE = 48, 3


def generator(potential: np.ndarray) -> sparse.csc_matrix:
    """Return the generator of a diffusion on a periodic square of cells, potential (n, n) in kT.

    Rates between neighbours i and j are exp(-(U_j - U_i) / 2), reversible for exp(-U).
    """
    n = len(potential)
    index = np.arange(n * n).reshape(n, n)
    rows, columns, rates = [], [], []
    for axis in (0, 1):
        for step in (1, -1):
            there = np.roll(index, step, axis=axis)
            rows.append(index.ravel())
            columns.append(there.ravel())
            rates.append(np.exp(-(potential.ravel()[there.ravel()] - potential.ravel()) / 2))
    rows, columns, rates = (np.concatenate(x) for x in (rows, columns, rates))
    moves = sparse.coo_matrix((rates, (rows, columns)), shape=(n * n, n * n)).tocsc()
    return (moves - sparse.diags(np.asarray(moves.sum(axis=1)).ravel())).tocsc()


def variances(potential: np.ndarray, functions: np.ndarray) -> np.ndarray:
    """Return 2 <a, (-L)^-1 a> of functions (n * n, m) that are centred first; (m,)."""
    p = np.exp(-(potential - potential.min())).ravel()
    p /= p.sum()
    centred = functions - p @ functions
    solved = np.zeros_like(centred)
    # The generator takes constants to zero: the first cell is held at zero.
    solved[1:] = splu(generator(potential)[1:, 1:].tocsc()).solve(-centred[1:])
    solved -= p @ solved
    return 2 * np.einsum("i,im,im->m", p, centred, solved)


def smoothing(cells: int, width: float = 10.0) -> np.ndarray:
    """Return the matrix that smooths a density on the cells by a Gaussian of so many degrees."""
    images = 2 * np.pi * (np.arange(cells) / cells + np.arange(-2, 3)[:, None])
    kernel = np.exp(-0.5 * (images / np.radians(width)) ** 2).sum(axis=0)
    one = np.array([np.roll(kernel / kernel.sum(), shift) for shift in range(cells)])
    return np.kron(one, one)


def of_bias(truth: np.ndarray, cap: float, contrast: float, smooth: np.ndarray) -> dict:
    """Return both variances and the effective share under a bias; truth (n, n) and cap in kT."""
    target = np.exp(-truth).ravel()
    target /= target.sum()
    potential = truth - (1 - 1 / contrast) * np.minimum(truth, cap)
    p = np.exp(-(potential - potential.min())).ravel()
    p /= p.sum()
    weight = target / p
    middle = -np.pi + 2 * np.pi * (np.arange(len(truth)) + 0.5) / len(truth)
    cells = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1).reshape(-1, 2)
    left = in_alpha_l(cells)
    basin = weight * (left / target[left].sum() - ~left / target[~left].sum())
    seen = smooth @ target
    chosen = np.flatnonzero(-np.log(seen / seen.max()) < 6.0)[::STRIDE]
    cell = weight[:, None] * (smooth[chosen].T / seen[chosen] - 1.0)
    found = variances(potential, np.concatenate([basin[:, None], cell], axis=1))
    return {
        "cap": cap, "contrast": contrast, "delta_f": float(found[0]),
        "map": float(found[1:] @ seen[chosen] / seen[chosen].sum()),
        "effective_share": float(1 / np.sum(target**2 / p)),
    }  # fmt: skip


def table(results: dict) -> str:
    """Return both variances over their least, and the effective share, as a Markdown table."""
    rows = results["summary"]["biases"]
    least = {name: min(row[name] for row in rows) for name in ("delta_f", "map")}
    contrasts = list(dict.fromkeys(row["contrast"] for row in rows))
    titles = ["flat" if c >= 1e6 else f"{c:g}" for c in contrasts]
    lines = ["| cap, kJ/mol \\ contrast | " + " | ".join(titles) + " |"]
    lines.append("|---" * (len(contrasts) + 1) + "|")
    for cap in dict.fromkeys(row["cap_kj_mol"] for row in rows):
        cells = [
            f"{row['delta_f'] / least['delta_f']:.1f} / {row['map'] / least['map']:.2f} / "
            f"{row['effective_share']:.2f}"
            for row in rows
            if row["cap_kj_mol"] == cap
        ]
        lines.append(f"| {cap:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__)
    options = parser.parse_args()
    system = load_system("alanine_dipeptide")
    reference = load_reference(system.folder / "reference-flattened")
    kt = thermal_energy(system.temperature)
    density = smoothed_density(
        reference.torsions, CELLS, 360.0 / CELLS, weights=reference.weights
    )
    truth = free_energy(density, cap=max(CAPS) / kt)
    smooth = smoothing(CELLS)
    rows = [
        of_bias(truth, cap / kt, contrast, smooth) | {"cap_kj_mol": cap}
        for cap in CAPS
        for contrast in CONTRASTS
    ]
    results = {**environment(), "cells": CELLS, "summary": {"biases": rows}}
    write_json(options.out / "bias_choice.json", results)
    print(table(results))


if __name__ == "__main__":
    main()
