"""Things that are chosen by name, from here or from an installed package."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from molflow.errors import MolflowError

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """What may be chosen by name; loaded when it is asked for.

    A package adds an entry without a change here by an entry point of the group, in its
    ``pyproject.toml``::

        [project.entry-points."molflow.networks"]
        transformer = "my_package.network:TRANSFORMER"

    A script does so by `register`. A name that is built in stays what it is.

    Parameters
    ----------
    what : str
        One of its things, in words: ``"network"``.
    group : str
        Of entry points: ``"molflow.networks"``.
    built_in : mapping of str to str
        Names to where the thing is, as ``"module:attribute"``.
    """

    def __init__(self, what: str, group: str, built_in: Mapping[str, str]):
        self.what, self.group = what, group
        self._built_in = dict(built_in)
        self._registered: dict[str, T] = {}

    def register(self, name: str, entry: T) -> T:
        """Add an entry for as long as this process runs, and return it.

        Raises
        ------
        MolflowError
            If the name is taken.
        """
        if name in self and self._registered.get(name) is not entry:
            raise MolflowError(f"there is a {self.what} '{name}' already: choose another name.")
        self._registered[name] = entry
        return entry

    def __getitem__(self, name: str) -> T:
        """Return the entry of a name.

        Raises
        ------
        MolflowError
            If there is none, or it cannot be loaded.
        """
        if name in self._registered:
            return self._registered[name]
        if name in self._built_in:
            module, _, attribute = self._built_in[name].partition(":")
            return getattr(import_module(module), attribute)
        offered = [point for point in _points(self.group) if point.name == name]
        if not offered:
            raise MolflowError(f"there is no {self.what} '{name}': choose one of {self.listed()}.")
        if len(offered) > 1:
            packages = " and ".join(sorted({_package(point) for point in offered}))
            raise MolflowError(
                f"the {self.what} '{name}' is offered by {packages}: uninstall one of them."
            )
        return self._load(offered[0])

    def __iter__(self) -> Iterator[str]:
        """Yield all names: those built in, in their order, and then the others."""
        names = [*self._built_in, *self._registered, *(p.name for p in _points(self.group))]
        return iter(dict.fromkeys(names))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in list(iter(self))

    def listed(self) -> str:
        """Return all names in one line."""
        return ", ".join(self)

    def _load(self, point: EntryPoint) -> T:
        try:
            return point.load()
        except Exception as error:
            raise MolflowError(
                f"the {self.what} '{point.name}' of {_package(point)} cannot be loaded from "
                f"'{point.value}' ({type(error).__name__}: {error}): repair or uninstall it."
            ) from error


def _points(group: str) -> tuple[EntryPoint, ...]:
    return _scan(group, tuple(sys.path))


@lru_cache(maxsize=64)
def _scan(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Look at the packages on the path once: there may be hundreds."""
    return tuple(entry_points(group=group))


def _package(point: EntryPoint) -> str:
    return "an unknown package" if point.dist is None else f"the package '{point.dist.name}'"
