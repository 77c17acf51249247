"""A wheel carries everything that molflow needs, and works without the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import molflow

ROOT = Path(__file__).parent.parent


def pip(*words):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (path,) = folder.glob("*.whl")
    return path


def files_below(folder):
    """Return the files that belong to the source, as posix paths relative to a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {p.relative_to(folder).as_posix() for p in paths if "__pycache__" not in p.parts}


def test_wheel_has_the_package_the_systems_and_nothing_else(wheel):
    assert wheel.name == f"molflow-{molflow.__version__}-py3-none-any.whl"
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {f"molflow/{name}" for name in files_below(ROOT / "molflow")}
    systems = {f"molflow/_systems/{name}" for name in files_below(ROOT / "systems")}
    assert "molflow/_systems/alanine_dipeptide/system.yaml" in systems
    assert names == package | systems


def test_installed_wheel_finds_its_built_in_systems(wheel, tmp_path):
    target = tmp_path / "site"
    pip("install", "--no-deps", "--target", str(target), str(wheel))

    def run(*words):
        return subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(target)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    where = run("-c", "from molflow.systems import systems_folder as f; print(f())")
    assert Path(where.strip()) == target / "molflow" / "_systems"
    assert "alanine_dipeptide" in run("-m", "molflow.cli", "systems")
