"""Keys of the configuration, their limits, and messages about values that cannot be used."""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

MAX_PROBLEMS = 10  # that one message lists
SHOWN = 80  # characters of a value or key that a message repeats


def fields_of(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every dotted key a configuration may hold with its field, in order."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def text_keys(section: type[BaseModel]) -> Callable[[tuple[str, ...]], bool]:
    """Tells whether a key, in parts, names a setting of text, a path or a list of them."""
    keys = {tuple(key.split(".")) for key, field in fields_of(section) if _is_text(field.annotation)}
    return keys.__contains__


def _is_text(kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return all(isinstance(choice, str) for choice in inner)
    if origin in (list, Union, types.UnionType):
        return any(_is_text(one) for one in inner) and not any(_is_number(one) for one in inner)
    if origin is Annotated:
        return _is_text(inner[0])
    return kind in (str, Path)


def _is_number(kind: Any) -> bool:
    return kind in (int, float) or (get_origin(kind) is Annotated and _is_number(get_args(kind)[0]))


def nearest_key(key: str, keys: Sequence[str]) -> str:
    """The valid key a misspelt one most likely means: the same last word, or nearly so, else whatever looks most alike."""
    key = key[:SHOWN]
    sections = {k.rsplit(".", 1)[0] for k in keys if "." in k}
    leaf = key.rsplit(".", 1)[-1]
    leaves = difflib.get_close_matches(leaf, [k.rsplit(".", 1)[-1] for k in keys], n=1, cutoff=0.8)
    by_leaf = [k for k in keys if k.rsplit(".", 1)[-1] in leaves]
    same_section = difflib.get_close_matches(key, by_leaf, n=1, cutoff=0.0)
    close = difflib.get_close_matches(key, [*keys, *sections], n=1, cutoff=0.5)
    return (same_section or close or difflib.get_close_matches(key, keys, n=1, cutoff=0.0))[0]


def problems(error: ValidationError, where: str, keys: Sequence[str]) -> str:
    """A sentence for each thing that is wrong, at most MAX_PROBLEMS of them."""
    found = _merged(error.errors(include_url=False, include_context=False), keys)
    told = [_problem(one, where, keys) for one in found[:MAX_PROBLEMS]]
    more = len(found) - len(told)
    return "\n".join([*told, f"{where}: {more} more problems of the same kinds"] if more else told)


def _merged(errors: Sequence[Any], keys: Sequence[str]) -> list[Any]:
    """Errors with one for each setting that may be a number or a word, where pydantic has one for either."""
    merged: list[Any] = []
    for error in errors:
        *parents, last = error["loc"] or [""]
        if isinstance(last, str) and ".".join(map(str, parents)) in keys:
            error = {**error, "loc": tuple(parents)}
            if merged and merged[-1]["loc"] == error["loc"]:
                merged[-1]["msg"] += f", or {error['msg'].removeprefix('Input should be ')}"
                continue
        merged.append(error)
    return merged


def _problem(error: Any, where: str, keys: Sequence[str]) -> str:
    key = ".".join(str(part) for part in error["loc"])[:SHOWN] or "the configuration"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key {shown(key)}; did you mean '{nearest_key(key, keys)}'?"
    value = error["input"]
    got = "" if error["type"] == "missing" or isinstance(value, dict | BaseModel) else f" (got {shown(value)})"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {key}: {message[0].lower()}{message[1:]}{got}"


def shown(value: Any) -> str:
    """A value as a message repeats it: quoted if it is text, cut if it is long."""
    if isinstance(value, list | dict | tuple):
        return f"a {type(value).__name__} of {len(value)}" if len(value) > 5 else _cut(repr(value))
    return _cut(repr(value))


def _cut(text: str) -> str:
    text = re.sub(r"(://[^/@?\s]*:)[^/@\s]+(?=@)", r"\1***", text)  # a refused password is not repeated
    text = re.sub(r"(password=)[^&\s'\"]+", r"\1***", text)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def limits_of(field: FieldInfo) -> str:
    """The range of a number, as `0 to 1`; nothing where there is none."""
    found: dict[str, float] = {}
    for metadata in (*field.metadata, *_inner_metadata(field.annotation)):
        values = {name: getattr(metadata, name, None) for name in ("gt", "ge", "lt", "le")}
        found |= {name: value for name, value in values.items() if value is not None}
    if found.keys() == {"ge", "le"}:
        return f"{_number(found['ge'])} to {_number(found['le'])}"
    comparisons = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    return ", ".join(f"{comparisons[name]} {_number(value)}" for name, value in found.items())


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _inner_metadata(kind: Any) -> Iterator[Any]:
    """What stands in the Annotated parts of an optional number or of a list of numbers."""
    if get_origin(kind) is Annotated:
        for metadata in get_args(kind)[1:]:
            yield from getattr(metadata, "metadata", [metadata])
    for inner in get_args(kind) if get_origin(kind) in (list, Union, types.UnionType) else ():
        yield from _inner_metadata(inner)


def _choices(kind: Any) -> list[str]:
    """The words that a setting may be, and `number` where it may be one, too."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    words = (
        [word for one in get_args(kind) for word in _choices(one)]
        if get_origin(kind) in (Union, types.UnionType)
        else []
    )
    return [*words, "a number"] if words and any(_is_number(one) for one in get_args(kind)) else words


def table(section: type[BaseModel]) -> str:
    """Every key with its default, its range and what it means, as Markdown: docs/settings.md."""
    lines = ["| setting | default | range | |", "| --- | --- | --- | --- |"]
    for key, field in fields_of(section):
        default = field.get_default(call_default_factory=True)
        told = "needed" if field.is_required() else json.dumps(default, default=str, ensure_ascii=False)
        choices = " or ".join(_choices(field.annotation))
        meaning = "; ".join(part for part in (choices, field.description or "") if part)
        lines.append(f"| `{key}` | `{told}` | {limits_of(field)} | {meaning} |")
    return "\n".join(lines) + "\n"
