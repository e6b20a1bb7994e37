"""Registries: named objects of one kind (judgment kinds, stores, query strategies, ...), extensible from other packages.

A package adds an object with `registry.register(name, value)`, or without being imported first, by an entry point:

    [project.entry-points."image_rlhf.stores"]
    memory = "my_package.memory_store:MemoryStore"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from feedback_store.errors import FeedbackError, shown

T = TypeVar("T")


class UnknownNameError(FeedbackError):
    """No object is registered under this name."""


class Registry(Generic[T]):
    """Objects by name; names are listed in the order in which they were registered.

    Args:
        noun: what an object is called in messages, e.g. `judgment kind`.
        group: entry point group of other packages' objects, e.g. `image_rlhf.judgment_kinds`.
        adapt: converts what an entry point names into an object of this registry; default: unchanged.
    """

    def __init__(self, noun: str, group: str, adapt: Callable[[Any], T] | None = None) -> None:
        self.noun, self.group, self._adapt = noun, group, adapt
        self._objects: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str, value: T) -> T:
        """Add an object.

        Raises:
            ValueError: the name is taken by another object.
        """
        if self._objects.get(name, value) is not value:
            raise ValueError(f"{self.noun} {name!r} is registered already; choose another name")
        self._objects[name] = value
        return value

    def unregister(self, name: str) -> None:
        """Remove an object; for tests and notebooks."""
        self._objects.pop(name, None)

    def get(self, name: str) -> T:
        """The object with this name.

        Raises:
            UnknownNameError: there is none; the message lists the valid names.
        """
        self._load()
        try:
            return self._objects[name]
        except KeyError:
            near = get_close_matches(name, self._objects, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            names = ", ".join(self._objects)
            raise UnknownNameError(f"unknown {self.noun} {shown(name)}; valid names: {names}{hint}") from None

    def names(self) -> tuple[str, ...]:
        """All names."""
        self._load()
        return tuple(self._objects)

    def __iter__(self) -> Iterator[T]:
        self._load()
        return iter(tuple(self._objects.values()))

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._objects

    def _load(self) -> None:
        """Load the entry points of other packages, once."""
        if self._loaded:
            return
        self._loaded = True
        for point in entry_points(group=self.group):
            if point.name in self._objects:
                continue
            try:
                loaded = point.load()
                value = self._adapt(loaded) if self._adapt else loaded
            except Exception as error:  # another package's code: the message has to name it
                raise FeedbackError(
                    f"{self.noun} {point.name!r} cannot be loaded from {point.value}: {error}; fix or uninstall that package"
                ) from error
            self.register(point.name, value)
