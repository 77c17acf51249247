"""A peptide of several residues, from trajectory files to the report."""

import mdtraj
import numpy as np
import pytest
from molecules import zigzag
from synthetic import torsion_samples

from molflow.comparison import compare


def backbone(residues):
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for number in range(1, residues + 1):
        residue = topology.add_residue("GLY", chain, resSeq=number)
        for name in ("N", "CA", "C"):
            topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residue)
    topology.create_standard_bonds()
    return topology


def conformations(n, alpha_l, seed):
    """Four residues; psi1, omega, phi2, psi2, omega, phi3, psi3, omega, phi4 in order."""
    rng = np.random.default_rng(seed)
    angles = np.full((n, 9), np.pi)
    angles[:, [0, 8]] = rng.normal(-1.2, 0.2, size=(n, 2))
    for residue, share in enumerate(alpha_l):
        angles[:, 2 + 3 * residue : 4 + 3 * residue] = torsion_samples(n, share, seed + residue)
    angles[:, [1, 4, 7]] += rng.normal(scale=0.1, size=(n, 3))
    return mdtraj.Trajectory(zigzag(angles, seed=seed), backbone(4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peptide")
    conformations(2000, (0.1, 0.2), 1).save(str(folder / "md.h5"))
    conformations(1500, (0.1, 0.2), 11).save(str(folder / "good.xtc"))
    conformations(1500, (0.1, 0.0), 21).save(str(folder / "bad.xtc"))
    conformations(1, (0.1, 0.2), 1).save(str(folder / "a.pdb"))
    return folder


def judged(folder, name, out=None):
    return compare(
        folder / name, folder / "md.h5", out, top=folder / "a.pdb", exact_transport=False
    )


def test_every_residue_is_judged(folder):
    result = judged(folder, "good.xtc", folder / "report.html")
    assert list(result["observables"]["residues"]) == ["GLY2", "GLY3"]
    names = [row["name"] for row in result["observables"]["torsions"]]
    assert sorted(names) == sorted(
        [f"phi GLY{k}" for k in (2, 3, 4)] + [f"psi GLY{k}" for k in (1, 2, 3)]
    )
    assert result["verdict"]["level"] == "good", result["verdict"]
    shares = result["observables"]["residues"]["GLY3"]["basins"]["model"]
    assert shares["alpha_l"] == pytest.approx(0.2, abs=0.03)
    page = (folder / "report.html").read_text()
    assert "of 2</b>" in page and "Share of αL (φ from 0 to 2 rad) of GLY3" in page


def test_the_residue_without_its_basin_is_named(folder):
    result = judged(folder, "bad.xtc")
    (basins,) = [c for c in result["verdict"]["checks"] if c["aspect"] == "Basins"]
    assert basins["level"] == "bad"
    assert "αL of GLY3" in basins["sentence"] and "GLY2" not in basins["sentence"]
    # Scores of maps are means over residues, of which one is right.
    assert result["metrics"]["delta_f_alpha_l_error"]["value"] > 2
