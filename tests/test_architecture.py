"""Dependency runs one way, and `import molflow` is light."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import molflow

PACKAGE = Path(molflow.__file__).parent
FOUNDATION = {
    "units", "errors", "files", "parts", "seeds", "progress", "trajectories", "bonded_terms",
    "registry", "section", "potentials", "system_files", "colours", "devices",
    "farm", "clusters", "workers",
}  # fmt: skip
# What each folder may import of molflow besides itself.
MATHEMATICS = {
    "brownian": FOUNDATION,
    "sde": FOUNDATION | {"brownian"},
    "solvers": FOUNDATION | {"brownian", "sde"},
    "nn": FOUNDATION,
    "valence": FOUNDATION,
    "flow_map": FOUNDATION | {"brownian", "sde", "nn"},
    "objectives": FOUNDATION | {"brownian", "sde", "nn", "flow_map"},
}
ALLOWED = MATHEMATICS | {
    "analysis": {"units", "errors", "files", "registry", "colours", "trajectories"},
    "data": FOUNDATION | {"systems", "analysis"},
    "md": FOUNDATION | {"systems", "data", "analysis"},
    "training": FOUNDATION | {"systems", "data", "analysis", *MATHEMATICS},
    "maps": FOUNDATION | {"systems", "data", "analysis", "training", *MATHEMATICS},
    "refinement": FOUNDATION | {"systems", "analysis", "md"},
    "setup": FOUNDATION | {"systems", "analysis", "md"},
    "sampling": FOUNDATION
    | {"systems", "data", "md", "maps", "refinement", "training", *MATHEMATICS},
    "exact": FOUNDATION
    | {"systems", "analysis", "md", "maps", "training", "sampling", *MATHEMATICS},
    "propagation": FOUNDATION
    | {"systems", "analysis", "md", "maps", "training", "sampling", *MATHEMATICS},
    "active": FOUNDATION
    | {"systems", "budget", "data", "analysis", "md", "maps", "training", "propagation"}
    | MATHEMATICS.keys(),
    "step_study": FOUNDATION
    | {"systems", "analysis", "maps", "training", "sampling", "comparison", *MATHEMATICS},
    "checking": FOUNDATION
    | {"systems", "analysis", "md", "maps", "training", "sampling", "comparison", "testing"}
    | MATHEMATICS.keys(),
}
LEARNING = {"torch", "lightning", "e3nn", "torch_geometric"}
FORBIDDEN = dict.fromkeys(MATHEMATICS, {"openmm", "mdtraj", "lightning"}) | {
    "analysis": LEARNING | {"openmm"},
    "data": LEARNING | {"openmm"},
    "md": LEARNING,
    "refinement": LEARNING,
    "setup": LEARNING,
    "training": {"openmm"},
    "maps": {"openmm"},
}


def imports(folder):
    """Yield (file, dotted name) of every import in a folder, those inside functions too."""
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        yield from imports_of(path)


def imports_of(path):
    """Yield (file, dotted name) of every import in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((path, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute, so that they can be checked"
            if node.module == "molflow":
                yield from ((path, f"molflow.{alias.name}") for alias in node.names)
            else:
                yield path, node.module


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_dependency_direction(folder):
    found = list(imports(folder))
    assert found
    allowed = ALLOWED[folder] | {folder, "__version__"}
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path, name in found
        if name.startswith("molflow.") and name.split(".")[1] not in allowed
    }
    assert not wrong


@pytest.mark.parametrize("folder", sorted(FORBIDDEN))
def test_heavy_packages_stay_where_they_belong(folder):
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path, name in imports(folder)
        if name.partition(".")[0] in FORBIDDEN[folder]
    }
    assert not wrong


def test_every_folder_has_its_rule():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    # The test kit and the command line stand on everything.
    assert folders - {"testing", "verbs"} == set(ALLOWED)


def test_nothing_but_the_command_line_imports_its_verbs():
    loose = [path.name for path in PACKAGE.glob("*.py") if path.name != "cli.py"]
    assert not [
        f"{path.name} imports {name}"
        for part in loose
        for path, name in imports_of(PACKAGE / part)
        if name.startswith("molflow.verbs")
    ]


HIDING = """
import sys
class Hidden:
    def find_spec(self, name, *_):
        if name.partition('.')[0] == '{name}':
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
"""


def loaded_after(statement, without=None):
    """Return the top-level modules that a fresh interpreter has loaded after a statement.

    `without` names a package that the interpreter cannot find, as if it were not installed.
    """
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    if without:
        code = HIDING.replace("{name}", without) + code
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import molflow", "import molflow.cli"])
def test_import_is_light(statement):
    heavy = {"torch", "openmm", "mdtraj", "lightning", "scipy", "matplotlib", "deeptime", "numpy"}
    assert not loaded_after(statement) & heavy


def test_the_check_for_light_imports_sees_a_heavy_one():
    assert "numpy" in loaded_after("import molflow.files")


@pytest.mark.parametrize(
    ("folder", "absent"),
    [("training", "openmm"), ("analysis", "torch"), ("md", "torch"), ("refinement", "torch")],
)
def test_folder_can_be_imported_where_a_package_is_absent(folder, absent):
    names = {path.stem for path in (PACKAGE / folder).glob("*.py")} - {"__init__"}
    modules = ", ".join(f"molflow.{folder}.{name}" for name in sorted(names))
    assert "numpy" in loaded_after(f"import {modules}", without=absent)


def test_hiding_a_package_makes_its_import_fail():
    with pytest.raises(subprocess.CalledProcessError):
        loaded_after("import openmm", without="openmm")


def test_modules_are_short():
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")
    }
    assert max(lengths.values()) <= 500, max(lengths, key=lengths.get)


OFFERING = ["molflow", *(f"molflow.{stub.parent.name}" for stub in PACKAGE.glob("*/__init__.pyi"))]


@pytest.mark.parametrize("name", OFFERING)
def test_every_name_that_is_offered_can_be_loaded(name):
    package = importlib.import_module(name)
    for offered in package.__all__:
        assert getattr(package, offered) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="attribute smaple"):
        _ = package.smaple


def test_an_offered_function_is_not_hidden_by_the_module_of_its_name():
    code = "import molflow.brownian.mean_path as _, molflow; print(molflow.brownian.mean_path)"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("<function mean_path")
