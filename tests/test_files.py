"""HDF5 without the package that reads it is a sentence, before any work."""

import pytest

import molflow.files
from molflow.analysis.files.ensemble import read_ensemble
from molflow.analysis.reporting.offenders import check_offenders_path
from molflow.errors import MolflowError
from molflow.trajectories import check_extension


@pytest.fixture
def without_tables(monkeypatch):
    monkeypatch.setattr(molflow.files, "find_spec", lambda name: None)


@pytest.mark.parametrize("ask", [
    check_extension, check_offenders_path, lambda path: read_ensemble(path, None),
])  # fmt: skip
def test_hdf5_without_pytables_is_a_sentence(ask, tmp_path, without_tables):
    path = tmp_path / "some.h5"
    path.touch()
    with pytest.raises(MolflowError, match=r"is HDF5, .* pip install 'molflow\[hdf5\]'"):
        ask(path)


def test_other_formats_do_not_need_it(tmp_path, without_tables):
    assert check_extension(tmp_path / "some.dcd")


def test_hdf5_is_fine_where_it_is_installed(tmp_path):
    assert check_extension(tmp_path / "some.h5")
