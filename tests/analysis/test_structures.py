import sys

import mdtraj
import numpy as np
import pytest

from molflow.analysis.structures import pdb_text, view
from molflow.comparison import find_reference
from molflow.errors import MolflowError


@pytest.fixture
def trajectory():
    reference = find_reference("alanine_dipeptide")
    return mdtraj.Trajectory(reference.positions[:50].copy(), reference.topology)


def test_frames_are_shown_superposed_and_thinned(trajectory):
    pytest.importorskip("py3Dmol")
    trajectory.xyz[3] = np.nan
    before = trajectory.xyz.copy()
    html = view(trajectory, frames=10)._make_html()
    assert html.count("ENDMDL") == 10 and "stick" in html and "nan" not in html.lower()
    assert np.array_equal(trajectory.xyz, before, equal_nan=True)


def test_text_is_a_pdb_file_of_these_frames(trajectory, tmp_path):
    (tmp_path / "a.pdb").write_text(pdb_text(trajectory[:4]), encoding="utf-8")
    again = mdtraj.load(str(tmp_path / "a.pdb"))
    assert again.n_frames == 4
    assert np.abs(again.xyz - trajectory.xyz[:4]).max() < 6e-5


def test_without_py3dmol_it_says_what_to_install(trajectory, monkeypatch):
    monkeypatch.setitem(sys.modules, "py3Dmol", None)
    with pytest.raises(MolflowError, match=r"pip install 'molflow\[notebook\]'"):
        view(trajectory)


def test_nothing_finite_is_refused(trajectory):
    pytest.importorskip("py3Dmol")
    trajectory.xyz[:] = np.nan
    with pytest.raises(MolflowError, match="no conformation is finite"):
        view(trajectory)
