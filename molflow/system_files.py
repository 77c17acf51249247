"""Files of a system folder: read within limits, hashed by content, refused if they run code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import yaml

from molflow.errors import MolflowError

#: Set to ``yes`` by the user, not by a folder: run the Python code in force-field files.
TRUST = "MOLFLOW_RUN_FORCEFIELD_SCRIPTS"
#: Elements of OpenMM's force-field files that hold Python code.
_CODE = {"Script", "InitializationScript"}
#: Bytes that a description may have, and files that a force field may include.
_LARGEST_YAML, _MOST_FILES = 100_000, 100
#: Brackets in brackets of a description, whose reading takes time with the square of them.
_DEEPEST = 50


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, of which nested ones make gigabytes of some hundred bytes."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(
                f"it has the alias '*{event.anchor}' in line {event.start_mark.line + 1}, and "
                "aliases are not allowed: write the value out"
            )
        return super().compose_node(parent, index)

    def fetch_flow_collection_start(self, kind):
        if self.flow_level == _DEEPEST:
            raise yaml.YAMLError("it is nested too deep")
        super().fetch_flow_collection_start(kind)


def read_yaml(path: str | Path) -> dict:
    """Read a YAML file that people write: one mapping, no aliases, at most 100 kB.

    Raises
    ------
    MolflowError
        If it cannot be read or is not such a mapping.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_YAML:
            raise yaml.YAMLError(f"it is larger than {_LARGEST_YAML // 1000} kB")
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=_PlainLoader)
    except OSError as error:
        raise MolflowError(f"cannot read '{path}' ({error.strerror or error}).") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise MolflowError(f"'{path}' is not readable YAML: {' '.join(reason.split())}.") from error
    if not isinstance(found, dict):
        raise MolflowError(f"'{path}' does not hold 'key: value' lines: write them.")
    return found


def parsed_xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file.

    Raises
    ------
    MolflowError
        If it cannot be read.
    """
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise MolflowError(f"'{path}' is not a readable XML file ({error}).") from error


def with_includes(path: Path) -> Iterator[Path]:
    """Yield a force-field file and the files beside it that it includes, each once."""
    found: set[Path] = set()
    waiting = [path.resolve()]
    while waiting:
        file = waiting.pop(0)
        if file in found:
            continue
        if len(found) == _MOST_FILES:
            raise MolflowError(f"'{path}' includes more than {_MOST_FILES} files.")
        found.add(file)
        yield file
        for included in parsed_xml(file).findall("Include"):
            beside = file.parent / included.get("file", "")
            if beside.is_file():
                waiting.append(beside.resolve())


def refuse_scripts(path: Path) -> None:
    """Raise `MolflowError` if a force-field file holds Python code, unless the user allows it."""
    if os.environ.get(TRUST, "").lower() in ("yes", "1", "true"):
        return
    for file in with_includes(path):
        named = {element.tag for element in parsed_xml(file).iter()} & _CODE
        if named:
            raise MolflowError(
                f"the force-field file '{file}' holds Python code (<{sorted(named)[0]}>) that "
                f"would run on this machine: read it, and if you trust it set {TRUST}=yes in the "
                "environment."
            )


def refuse_pickles(path: Path) -> None:
    """Raise `MolflowError` if a serialised System holds a PythonForce, which is a pickle."""
    for element in parsed_xml(path).iter():
        if "PythonForce" in (element.tag, *element.attrib.values()):
            raise MolflowError(
                f"'{path}' holds a PythonForce, whose pickled code would run on this machine when "
                "it is read: serialise the System without it."
            )
