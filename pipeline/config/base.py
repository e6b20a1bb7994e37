"""What every section of the configuration is built from."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from feedback_store.registry import Registry, UnknownNameError

MAX_IMAGE_SIZE = 4096  # pixels; a square of that side is 48 MiB as a uint8 image, 192 MiB as a float one
MAX_CLASSES = 50_000  # ImageNet-21k has 21,841
MAX_TEXT = 4096  # characters of a setting; the longest path of Linux
MAX_MEMBERS = 100  # of an ensemble of reward networks

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)

Trainable = Literal["head", "last_block", "all", "lora"]

Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
LearningRate = Annotated[float, Field(gt=0, le=1)]  # of Adam, whose steps are about that long whatever the gradient


def expand_path(path: str | Path | None) -> str | Path | None:
    """A path with ~ and environment variables replaced; anything else as it is.

    Raises:
        ValueError: it cannot be the path of a file.
    """
    if not isinstance(path, str):
        return path
    plain_text(path)
    return plain_text(os.path.expanduser(os.path.expandvars(path)))  # noqa: PTH111


def expand_address(text: str) -> Path | str:
    """A path with ~ and environment variables replaced, or an address (s3://...), which stays a text.

    Raises:
        ValueError: it is neither, or has a password, which would be saved with every run.
    """
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    expanded = str(expand_path(text))
    if not _ADDRESS.match(text):
        return Path(expanded)
    if re.match(r"[^/]+://[^/]*:[^/]*@", expanded):
        raise ValueError("has a password, which would be saved with the run; give it in the environment")
    return expanded


def plain_text(text: str) -> str:
    """The text as it is.

    Raises:
        ValueError: it is too long, or has a control character or half a surrogate pair: neither a file, a name nor the
            configuration that is saved with the run could hold it.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"has {len(text)} characters; at most {MAX_TEXT} are possible")
    if bad := next((c for c in text if unicodedata.category(c) in ("Cc", "Cs")), None):
        raise ValueError(f"has the character U+{ord(bad):04X}, which cannot be written; remove it")
    return text


def _check_texts(value: Any) -> Any:
    """`plain_text` of a string, and of every string in a list."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str):
            plain_text(one)
    return value


class Section(BaseModel):
    """A part of the configuration: unknown keys, NaN, infinity and texts that cannot be written are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)

    _texts = field_validator("*", mode="before")(_check_texts)


def known(registry: Registry[Any], name: str) -> str:
    """The name as it is.

    Raises:
        ValueError: the registry has no object of that name; the message lists the valid ones.
    """
    try:
        registry.get(name)
    except UnknownNameError as error:
        raise ValueError(str(error)) from None
    return name
