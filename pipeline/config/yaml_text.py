"""YAML as configurations use it: mappings, lists and plain values, within limits on size and depth.

Text stays text: where a setting is a name or a path, `010`, `no` and `2024-01-01` are read as they are written. Keys
that stand twice are refused, since YAML would silently take the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UserError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_VALUES = 50_000  # with every alias written out
MAX_BITS = 63  # of a whole number
NULL, BOOL, INT, FLOAT, TEXT, DATE, MERGE = (
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "merge")
)
PLAIN = (NULL, BOOL, INT, FLOAT, TEXT, DATE)
Key = tuple[str, ...]


class _Refused(Exception):
    """What is wrong, and in which line."""

    def __init__(self, reason: str, node: yaml.Node) -> None:
        super().__init__(reason)
        self.line = node.start_mark.line + 1


class _Composer(yaml.SafeLoader):
    """Text to nodes, to a limited depth: PyYAML's own composer calls itself for every level."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f"nested more than {MAX_DEPTH} levels deep")
        try:
            node: yaml.Node | None = super().compose_node(parent, index)
        finally:
            self.depth -= 1
        return node


class _Values:
    """Nodes to values.

    Args:
        loader: knows how a number is written.
        is_text: whether the setting of that key holds text, so that its values are read as they are written.
    """

    def __init__(self, loader: yaml.SafeLoader, is_text: Callable[[Key], bool]) -> None:
        self.loader, self.is_text = loader, is_text
        self.count = 0

    def of(self, node: yaml.Node, key: Key, depth: int = 0) -> Any:
        self.count += 1
        if self.count > MAX_VALUES:
            raise _Refused(f"more than {MAX_VALUES:,} values, with aliases written out", node)
        if depth > MAX_DEPTH:  # an alias inside what it stands for has no end
            raise _Refused(f"nested more than {MAX_DEPTH} levels deep, with aliases written out", node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, key)
        if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
            return [self.of(item, key, depth + 1) for item in node.value]
        if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
            return self._mapping(node, key, depth)
        raise _Refused(f"the tag {node.tag!r:.60} is not supported; leave it out", node)

    def _mapping(self, node: yaml.MappingNode, key: Key, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for name_node, value_node in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                raise _Refused("a key is a word, not a list or a mapping", name_node)
            name, line = name_node.value, name_node.start_mark.line + 1
            if name in lines:
                raise _Refused(
                    f"the key '{name:.60}' stands in line {lines[name]} already; leave one of them out", name_node
                )
            lines[name] = line
            if name_node.tag == MERGE:
                for one in self._merged(value_node, key, depth):
                    merged = {**one, **merged}
            else:
                own[name] = self.of(value_node, (*key, name), depth + 1)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, key: Key, depth: int) -> list[dict[str, Any]]:
        found = self.of(node, key, depth + 1)
        found = found if isinstance(found, list) else [found]
        if not all(isinstance(one, dict) for one in found):
            raise _Refused("<< merges mappings only", node)
        return found

    def _scalar(self, node: yaml.ScalarNode, key: Key) -> Any:
        if node.tag not in PLAIN:
            raise _Refused(f"the tag {node.tag!r:.60} is not supported; leave it out", node)
        if node.tag == DATE or (node.tag != NULL and self.is_text(key)):
            return str(node.value)
        kind = node.tag.rsplit(":", 1)[-1]
        try:
            value = self.loader.construct_object(node)
        except Exception:  # which error a value that does not fit its tag raises depends on the value
            raise _Refused(f"{node.value!r:.60} is not a value of the type {kind}", node) from None
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise _Refused(f"the number {node.value!r:.60} is larger than any setting may be", node)
        return value


def parse_yaml(text: str, is_text: Callable[[Key], bool], key: Key = ()) -> Any:
    """The value that a YAML text stands for; None for an empty text.

    Args:
        key: of the setting that the text is the value of; () for a whole configuration.

    Raises:
        ValueError: it cannot be used; the message begins with the line, where it is known.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"longer than {MAX_BYTES // 1024} KiB")
    try:
        loader = _Composer(text)
        node = loader.get_single_node()
        return None if node is None else _Values(loader, is_text).of(node, key)
    except _Refused as refused:
        raise ValueError(f"line {refused.line}: {refused}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"{f'line {mark.line + 1}: ' if mark else ''}not valid YAML: {reason:.200}") from None
    except (ValueError, OverflowError) as error:  # a character that does not exist, as "\U00110000"
        raise ValueError(f"not valid YAML: {error!s:.200}") from None


def read_text(path: Path) -> str:
    """A configuration file's text.

    Raises:
        UserError: it is missing, a folder, too large, or not UTF-8.
        OSError: the system refuses to read it.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder, not a configuration; name a .yaml file in it")
    if not path.is_file():
        raise UserError(f"{path}: no such configuration; the ones that come with the project are in configs/")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES // 1024} KiB, which no configuration is; name another file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
