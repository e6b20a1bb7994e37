"""Reading a configuration: a YAML file plus overrides of the form `section.key=value`, validated by pydantic."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.config import setting_checks as config_keys
from pipeline.config.renamed import RENAMED_KEYS, current_names, refuse_renamed, with_added
from pipeline.config.root import Config, RunSettings
from pipeline.config.setting_checks import nearest_key, shown
from pipeline.config.yaml_text import MAX_BYTES, parse_yaml, read_text
from pipeline.errors import UserError

MAX_PARENTS = 3  # sections within sections of any key

Settings = TypeVar("Settings", bound=BaseModel)


def known_keys(kind: type[BaseModel] = Config) -> list[str]:
    """Every dotted key that a configuration of a kind may hold, in order."""
    return [key for key, _ in config_keys.fields_of(kind)]


def settings_table(kind: type[BaseModel] = Config) -> str:
    """Every key with its default, its range and what it means, as Markdown: docs/settings.md."""
    return config_keys.table(kind)


def _set(tree: dict[str, Any], key: str, value: Any, keys: list[str]) -> None:
    *parents, leaf = key.split(".")
    if len(parents) > MAX_PARENTS:
        raise UserError(f"SET {shown(key)}: unknown key; did you mean '{nearest_key(key, keys)}'?")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(
                f"SET {shown(key)}: '{parent}' is a value, not a section; did you mean '{nearest_key(key, keys)}'?"
            )
        tree = child
    tree[leaf] = value


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Read a YAML file and apply `key=value` overrides; `ppo.lr=1e-5` and `seed=3` are examples.

    Raises UserError naming the file or override, the key, what is wrong and, for an unknown key, the nearest valid one.
    """
    return load_settings(Config, path, overrides)


def load_settings(kind: type[Settings], path: Path, overrides: list[str] | None = None) -> Settings:
    """`load_config` of another kind of configuration."""
    tree = read_tree(path, kind)
    is_text = config_keys.text_keys(kind)
    for override in overrides or []:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise UserError(f"SET {shown(override)}: write it as key=value, for example ppo.lr=1e-5")
        if key in RENAMED_KEYS:
            raise UserError(f"SET {key}: it was renamed to {RENAMED_KEYS[key]}; rename it")
        try:
            _set(tree, key, parse_yaml(value, is_text, tuple(key.split("."))) if value else "", known_keys(kind))
        except ValueError as error:
            raise UserError(f"SET {shown(override)}: the value cannot be used: {error}") from None
    config = parse_settings(kind, tree, str(path))
    if len(_dump(config).encode()) > MAX_BYTES:  # every stage keeps it as a file, which must be readable
        raise UserError(f"{path}: longer than {MAX_BYTES // 1024} KiB when written out; shorten its lists")
    return config


def read_tree(path: Path, kind: type[BaseModel] = Config) -> dict[str, Any]:
    """A configuration file as it is written, nothing checked but its form.

    Raises:
        UserError: it is missing, cannot be read, or is not a mapping.
    """
    text = read_text(path)
    try:
        tree = parse_yaml(text, config_keys.text_keys(kind))
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
    return parse_settings(Config, tree, where)


def parse_settings(kind: type[Settings], tree: dict[str, Any], where: str) -> Settings:
    """`parse_config` of another kind of configuration."""
    if kind is Config:
        refuse_renamed(tree, where)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UserError(config_keys.problems(error, where, known_keys(kind))) from None


def dump_config(config: RunSettings) -> str:
    """The resolved configuration as YAML that `load_config` reads back to the same value."""
    return _dump(config)


def _dump(config: RunSettings | BaseModel) -> str:
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
