"""What all kinds of map share asks for none of them: each is a room behind one protocol."""

import ast
from pathlib import Path

import molflow

PACKAGE = Path(molflow.__file__).parent
#: What knows no kind of map, network or configuration.
SHARED = (
    "training", "flow_map", "objectives", "maps/dynamics", "sampling", "propagation", "step_study",
    "checking", "nn/registry.py", "cli.py", "verbs",
)  # fmt: skip
KINDS = {"denoiser", "langevin", "overdamped", "dense", "sparse", "tensor_product"}


def classes_of_kinds(package):
    """Return the names of all classes of maps and networks, and of their configurations."""
    return {
        node.name
        for folder in ("maps", "nn", "flow_map")
        for path in (package / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    } | {"LangevinConfig", "OverdampedFlowMap"}


def asks_for_a_kind(node, classes):
    """Return whether a node of the syntax tree is a question for the kind of a thing."""
    if isinstance(node, ast.Compare):
        sides = [part for side in (node.left, *node.comparators) for part in ast.walk(side)]
        said = {part.value for part in sides if isinstance(part, ast.Constant)}
        return any(word in KINDS for word in said if isinstance(word, str))
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    called, rest = node.func.id, node.args[1:]
    if called == "isinstance":
        return any(n.id in classes for n in ast.walk(rest[0]) if isinstance(n, ast.Name))
    constant = bool(rest) and isinstance(rest[0], ast.Constant)
    return called == "is_dynamics" or (called in ("getattr", "hasattr") and constant)


def dispatch_sites(package=PACKAGE, shared=SHARED):
    """Return where shared code asks for a kind."""
    classes, found = classes_of_kinds(package), []
    for name in shared:
        place = package / name
        paths = sorted(place.rglob("*.py")) if place.is_dir() else [place] * place.exists()
        for path in paths:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if asks_for_a_kind(node, classes):
                    found.append(f"{path.relative_to(package)}:{node.lineno}")
    return found


def test_what_is_shared_asks_for_no_kind_of_map():
    assert dispatch_sites() == []
    assert all((PACKAGE / name).exists() for name in SHARED)


def test_a_question_for_the_kind_of_map_would_be_seen(tmp_path):
    (tmp_path / "training").mkdir()
    code = """
if isinstance(flow_map, OverdampedFlowMap): pass
if settings.map.kind == "langevin": pass
share = getattr(objective, "direct_share", 0.0)
inertial = hasattr(sde, "sigma")
mine = isinstance(value, dict) and getattr(value, name)
"""
    (tmp_path / "training" / "run.py").write_text(code)
    found = dispatch_sites(tmp_path, ["training"])
    assert found == [f"training/run.py:{line}" for line in (2, 3, 4, 5)]
