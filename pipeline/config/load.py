"""Reading a configuration: a YAML file plus overrides of the form `section.key=value`, validated by pydantic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.config import setting_checks as config_keys
from pipeline.config.renamed import RENAMED_KEYS, current_names, refuse_renamed, with_added
from pipeline.config.root import Config
from pipeline.config.setting_checks import nearest_key, shown
from pipeline.config.yaml_text import MAX_BYTES, parse_yaml, read_text
from pipeline.errors import UserError

MAX_PARENTS = 3  # sections within sections of any key


def known_keys() -> list[str]:
    """Every dotted key a configuration may hold, in order."""
    return [key for key, _ in config_keys.fields_of(Config)]


def settings_table() -> str:
    """Every key with its default, its range and what it means, as Markdown: docs/settings.md."""
    return config_keys.table(Config)


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, leaf = key.split(".")
    if len(parents) > MAX_PARENTS:
        raise UserError(f"SET {shown(key)}: unknown key; did you mean '{nearest_key(key, known_keys())}'?")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(
                f"SET {shown(key)}: '{parent}' is a value, not a section; did you mean '{nearest_key(key, known_keys())}'?"
            )
        tree = child
    tree[leaf] = value


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Read a YAML file and apply `key=value` overrides; `ppo.lr=1e-5` and `seed=3` are examples.

    Raises UserError naming the file or override, the key, what is wrong and, for an unknown key, the nearest valid one.
    """
    tree = read_tree(path)
    is_text = config_keys.text_keys(Config)
    for override in overrides or []:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise UserError(f"SET {shown(override)}: write it as key=value, for example ppo.lr=1e-5")
        if key in RENAMED_KEYS:
            raise UserError(f"SET {key}: it was renamed to {RENAMED_KEYS[key]}; rename it")
        try:
            _set(tree, key, parse_yaml(value, is_text, tuple(key.split("."))) if value else "")
        except ValueError as error:
            raise UserError(f"SET {shown(override)}: the value cannot be used: {error}") from None
    config = parse_config(tree, str(path))
    if len(dump_config(config).encode()) > MAX_BYTES:  # every stage keeps it as a file, which must be readable
        raise UserError(f"{path}: longer than {MAX_BYTES // 1024} KiB when written out; shorten its lists")
    return config


def read_tree(path: Path) -> dict[str, Any]:
    """A configuration file as it is written, nothing checked but its form.

    Raises:
        UserError: it is missing, cannot be read, or is not a mapping.
    """
    text = read_text(path)
    try:
        tree = parse_yaml(text, config_keys.text_keys(Config))
    except ValueError as error:
        raise UserError(f"{path}, {error}; correct the file") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a configuration is a mapping of keys to values, not a {type(tree).__name__}")
    return tree


def read_saved_tree(path: Path) -> dict[str, Any]:
    """As `read_tree`, of a configuration that a stage saved; settings renamed or added since then have their present names."""
    return with_added(current_names(read_tree(path)))


def load_saved_config(path: Path) -> Config:
    """The configuration that a stage saved, also by an earlier version.

    Raises:
        UserError: it is missing or invalid.
    """
    return parse_config(read_saved_tree(path), str(path))


def parse_config(tree: dict[str, Any], where: str) -> Config:
    """Validate a nested mapping; `where` is named in every complaint."""
    refuse_renamed(tree, where)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError(config_keys.problems(error, where, known_keys())) from None


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML that `load_config` reads back to the same value."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
