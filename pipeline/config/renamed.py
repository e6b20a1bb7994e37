"""Settings whose values were renamed: the old value is refused, but stays readable in configurations saved with runs.

Hashes of settings are taken under the original names, so that a renaming does not invalidate finished stages.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import UserError

# Setting, old value -> new value.
RENAMED_VALUES: dict[str, dict[str, str]] = {
    "ppo.penalty": {"learning": "current", "acting": "old"},
}

Tree = dict[str, Any]


def refuse_renamed(tree: Mapping[str, Any], where: str) -> None:
    """Raise UserError for the first old value in a configuration; the message has the new one.

    Args:
        where: names the configuration.
    """
    for key, values in RENAMED_VALUES.items():
        for section, leaf in _parents(tree, key):
            if (value := section[leaf]) in values:
                raise UserError(f"{where}: {key}: '{value}' was renamed to '{values[value]}'")


def current_names(tree: Tree) -> Tree:
    """A copy of a saved configuration with new values in place of old ones."""
    return _replaced(tree, RENAMED_VALUES)


def original_names(tree: Tree) -> Tree:
    """A copy of a configuration with the oldest values in place of new ones: what hashes of settings are taken of."""
    inverse = {key: {new: old for old, new in values.items()} for key, values in RENAMED_VALUES.items()}
    return _replaced(tree, inverse)


def _replaced(tree: Tree, table: Mapping[str, Mapping[str, str]]) -> Tree:
    tree = copy.deepcopy(tree)
    for key, values in table.items():
        for section, leaf in _parents(tree, key):
            section[leaf] = values.get(section[leaf], section[leaf])
    return tree


def _parents(tree: Any, key: str) -> Iterator[tuple[Any, str]]:
    """The section that holds a dotted key whose value is a text, and the key's last part; nothing if there is none."""
    *sections, leaf = key.split(".")
    for name in sections:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    if isinstance(tree, Mapping) and isinstance(tree.get(leaf), str):
        yield tree, leaf
