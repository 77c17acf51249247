"""Entries that are built in, registered by a script, or offered by an installed package."""

import sys

import pytest

from molflow.errors import MolflowError
from molflow.registry import Registry


def build():
    return Registry("ratio", "tests.ratios", {"pi": "math:pi", "absent": "no_such_module:value"})


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a package with one module and entry points."""

    def put(package, points, code=""):
        folder = tmp_path / package
        information = folder / f"{package}-1.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (information / "entry_points.txt").write_text("\n".join(["[tests.ratios]", *lines]))
        (folder / f"{package}_module.py").write_text(code)
        monkeypatch.setattr(sys, "path", [str(folder), *sys.path])

    return put


def test_what_is_built_in_is_loaded_when_asked_for():
    registry = build()
    assert list(registry) == ["pi", "absent"] and len(registry) == 2 and "pi" in registry
    assert 3.14 < registry["pi"] < 3.15
    with pytest.raises(ModuleNotFoundError):
        registry["absent"]


def test_an_unknown_name_is_a_sentence_with_those_known():
    registry = build()
    registry.register("e", 2.718)
    with pytest.raises(MolflowError, match="no ratio 'phi': choose one of pi, absent, e.$"):
        registry["phi"]


def test_a_script_adds_an_entry_and_takes_no_name():
    registry = build()
    assert registry.register("e", 2.718) == registry["e"] == 2.718
    for name in ("pi", "e"):
        with pytest.raises(MolflowError, match=f"there is a ratio '{name}' already"):
            registry.register(name, 3.0)
    assert "e" not in build()


def test_a_package_adds_an_entry_by_its_entry_point(install):
    registry = build()
    assert "golden" not in registry
    install("gold", {"golden": "gold_module:VALUE", "pi": "gold_module:VALUE"}, "VALUE = 1.618")
    assert registry["golden"] == 1.618 and list(registry) == ["pi", "absent", "golden"]
    assert registry["pi"] != 1.618
    install("fools_gold", {"golden": "fools_gold_module:VALUE"}, "VALUE = 1.6")
    with pytest.raises(MolflowError, match="by the package 'fools_gold' and the package 'gold'"):
        registry["golden"]


@pytest.mark.parametrize(
    ("value", "code", "reason"),
    [
        ("broken_module:VALUE", "import no_such_module", "No module named 'no_such_module'"),
        ("broken_module:OTHER", "VALUE = 1", "has no attribute 'OTHER'"),
    ],
)
def test_an_entry_point_that_cannot_be_loaded_is_a_sentence(install, value, code, reason):
    package = f"broken{len(code)}"
    install(package, {"bad": value.replace("broken_module", f"{package}_module")}, code)
    with pytest.raises(MolflowError, match=f"'bad' of the package '{package}' .*{reason}.*repair"):
        build()["bad"]
