"""Defects are what they are called."""

import mdtraj
import numpy as np
import pytest

from molflow.analysis.molecule.geometry import measure, terms
from molflow.analysis.molecule.limits import limits_of
from molflow.analysis.molecule.stereo import stereocentres
from molflow.analysis.molecule.validity import check_validity
from molflow.analysis.torsions import phi_psi
from molflow.comparison import find_reference
from molflow.testing import defects


@pytest.fixture(scope="module")
def frames():
    reference = find_reference("alanine_dipeptide")
    return mdtraj.Trajectory(reference.positions[::5], reference.topology)


def test_stiffened_bonds_have_the_variance_of_larger_force_constants(frames):
    made = defects.stiffened(frames, 1.2)
    listed = terms(frames.topology)
    before, after = measure(frames.xyz, listed), measure(made.xyz, listed)
    bonds = np.array([term.kind == "bond" for term in listed])
    ratio = after[:, bonds].var(axis=0) / before[:, bonds].var(axis=0)
    assert ratio == pytest.approx(1 / 1.2, rel=1e-3)
    assert after[:, bonds].mean(axis=0) == pytest.approx(before[:, bonds].mean(axis=0), abs=1e-6)
    assert np.abs(after[:, ~bonds] - before[:, ~bonds]).max() < 1e-3
    assert np.abs(np.angle(np.exp(1j * (phi_psi(made) - phi_psi(frames))))).max() < 1e-3


def test_mirrored_broken_and_repeated_frames_are_counted(frames):
    rng, topology = np.random.default_rng(0), frames.topology
    limits = limits_of(frames.xyz, topology, stereocentres(topology))

    def counts(made):
        return check_validity(made.xyz, limits).counts()

    n = len(frames)
    assert counts(frames)["strictly_valid"] == n
    mirrored = counts(defects.mirrored(frames, 0.5, rng))
    assert mirrored["wrong_hand"] == pytest.approx(n / 2, rel=0.2)
    broken = counts(defects.broken(frames, 0.5, rng))
    assert broken["broken_bond"] == pytest.approx(n / 2, rel=0.2) and broken["wrong_hand"] == 0
    copies = defects.repeated(frames, 0.5, rng).xyz
    assert np.all(copies == copies[0], axis=(1, 2)).sum() == pytest.approx(n / 2, rel=0.2)
    phi = phi_psi(defects.without_alpha_l(frames))[:, 0]
    assert not np.any((phi > 0) & (phi < 2)) and len(phi) < n
