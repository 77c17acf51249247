"""Thirteen scores of a report, computed once more by other libraries from the files alone."""

from itertools import combinations
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import ot
import pytest
from openmm import app, unit
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

import molflow
from molflow.comparison import find_reference

#: Torsions of the molecule, by residue and atom.
PHI, PSI = ("1C", "2N", "2CA", "2C"), ("2N", "2CA", "2C", "3N")
KT = 8.31446261815324e-3 * 300.0
CIRCLE = [[-np.pi, np.pi]] * 2


def torsion(xyz, atoms):
    """Return torsions by the angle between the planes' normals."""
    a, b, c, d = (xyz[:, atom] for atom in atoms)
    axis = c - b
    left, right = np.cross(axis, a - b), np.cross(axis, d - c)
    sine = (np.cross(left, right) * axis).sum(-1) / np.linalg.norm(axis, axis=-1)
    return np.arctan2(sine, (left * right).sum(-1))


def energies(topology, xyz):
    """Return potential energies in kT, one frame after the other."""
    field = app.ForceField("amber99sbildn.xml", "amber99_obc.xml")
    system = field.createSystem(topology.to_openmm(), constraints=None)
    context = openmm.Context(
        system, openmm.VerletIntegrator(1e-3), openmm.Platform.getPlatformByName("Reference")
    )
    found = []
    for frame in xyz:
        context.setPositions(frame * unit.nanometer)
        found.append(context.getState(energy=True).getPotentialEnergy()._value / KT)
    return np.array(found)


def shares(angles, bins, reach=CIRCLE):
    counts = np.histogram2d(*angles.T, bins=bins, range=reach)[0]
    return counts / counts.sum()


class Side:
    """What other libraries say of one file."""

    def __init__(self, path: Path):
        whole = mdtraj.load(str(path), top=str(path.with_name("topology.pdb")))
        top, self.xyz = whole.topology, whole.xyz.astype(float)
        self.place = {f"{a.residue.index + 1}{a.name}": a.index for a in top.atoms}
        self.angles = np.stack([self.torsion(PHI), self.torsion(PSI)], axis=1)
        self.energies = energies(top, whole.xyz)
        bonds = [(b[0].index, b[1].index) for b in top.bonds]
        ends = [[set(b) - {i} for b in bonds if i in b] for i in range(top.n_atoms)]
        near = [sorted(set().union(*found)) for found in ends]
        corners = [(a, i, b) for i, n in enumerate(near) for a, b in combinations(n, 2)]
        vectors = [self.xyz[:, a] - self.xyz[:, b] for a, b in bonds]
        self.bonds = np.linalg.norm(vectors, axis=-1).T
        self.corners = np.stack([self.angle(*corner) for corner in corners], axis=1)

    def torsion(self, names):
        return torsion(self.xyz, [self.place[name] for name in names])

    def angle(self, a, middle, b):
        one, two = (self.xyz[:, k] - self.xyz[:, middle] for k in (a, b))
        scale = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
        return np.arccos((one * two).sum(1) / scale)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recomputed")
    truth = find_reference("alanine_dipeptide")
    for name, frames in (("run", slice(0, 300)), ("md", slice(2000, 2400))):
        part = mdtraj.Trajectory(truth.positions[frames], truth.topology)
        part.save_dcd(str(folder / f"{name}.dcd"))
    part[0].save_pdb(str(folder / "topology.pdb"))
    report = molflow.compare(
        folder / "run.dcd", folder / "md.dcd", system="alanine_dipeptide", jobs=1
    )
    return report, Side(folder / "run.dcd"), Side(folder / "md.dcd")


def fes_rmse(own, other):
    """Of maps smoothed by SciPy: 10 degrees are two bins."""
    densities = [
        gaussian_filter(shares(side.angles, 72), 2.0, mode="wrap", truncate=12.0)
        for side in (own, other)
    ]
    found, truth = (np.log(density.max()) - np.log(density) for density in densities)
    inside = truth < 6.0
    error = np.minimum(found, 8.0)[inside] - truth[inside]
    mean = np.average(error, weights=densities[1][inside])
    return np.sqrt(np.average((error - mean) ** 2, weights=densities[1][inside]))


def pmf_error(own, other):
    q, p = (shares(side.angles, 62) for side in (own, other))
    seen = (p > 0) | (q > 0)
    weights = (p + q)[seen]
    logarithms = (np.log(np.where(x[seen] > 0, x[seen], 1e-6)) for x in (q, p))
    return np.average(np.subtract(*logarithms) ** 2, weights=weights)


def js_divergence_pooled(own, other):
    both = np.concatenate([own.angles, other.angles])
    reach = list(zip(both.min(0), both.max(0), strict=True))
    return jensenshannon(*(shares(s.angles, 64, reach).ravel() for s in (own, other))) ** 2


def torus_w2(own, other):
    apart = np.abs(own.angles[:, None] - other.angles[None])
    cost = (np.minimum(apart, 2 * np.pi - apart) ** 2).sum(-1)
    return np.sqrt(ot.emd2([], [], cost))


def each_torsion(own, other, bins, distance):
    edges = np.linspace(-np.pi, np.pi, bins + 1)
    return [
        distance(*(np.histogram(x, edges)[0] / len(x) for x in sides))
        for sides in zip(own.angles.T, other.angles.T, strict=True)
    ]


def w1_of_terms(own, other):
    return np.median([wasserstein_distance(a, b) for a, b in zip(own.T, other.T, strict=True)])


def delta_f(side):
    inside = np.mean((side.angles[:, 0] > 0) & (side.angles[:, 0] < 2))
    return -np.log(inside / (1 - inside))


SCORES = {
    "fes_rmse": fes_rmse,
    "delta_f_alpha_l_error": lambda own, other: abs(delta_f(own) - delta_f(other)),
    "pmf_error": pmf_error,
    "js_divergence": lambda own, other: jensenshannon(
        shares(own.angles, 64).ravel(), shares(other.angles, 64).ravel()
    ) ** 2,
    "js_divergence_pooled": js_divergence_pooled,
    "torus_w2": torus_w2,
    "torsion_js_distance": lambda own, other: np.mean(
        each_torsion(own, other, 100, jensenshannon)
    ),
    "torsion_misplaced_worst": lambda own, other: max(
        each_torsion(own, other, 36, lambda p, q: 0.5 * np.abs(p - q).sum())
    ),
    "energy_w1": lambda own, other: wasserstein_distance(own.energies, other.energies),
    "energy_w2": lambda own, other: np.sqrt(
        ot.wasserstein_1d(own.energies, other.energies, p=2)
    ),
    "bond_w1": lambda own, other: w1_of_terms(own.bonds, other.bonds),
    "angle_w1": lambda own, other: w1_of_terms(own.corners, other.corners),
    "bond_sd_error": lambda own, other: np.median(
        np.abs(np.log(own.bonds.std(0) / other.bonds.std(0)))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_that_of_other_libraries_to_its_printed_digits(name, compared):
    report, own, other = compared
    printed, found = report["metrics"][name]["value"], float(SCORES[name](own, other))
    assert found == pytest.approx(printed, rel=3e-4)  # torsions at the edges of bins
    assert f"{found:.3g}" == f"{printed:.3g}"
