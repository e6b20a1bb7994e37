"""The log file of an unexpected error: the traceback, versions and command line, without secrets."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("image-rlhf", "torch", "torchvision", "numpy", "pillow")
REMOVED = "[removed]"
MIN_SECRET_LENGTH = 8  # characters; a shorter value could occur inside ordinary words
SECRET_NAME = re.compile(r"token|secret|password|passwd|credential|api_?key|access_?key|private_?key", re.IGNORECASE)
# Personal links, bearer tokens, passwords in addresses, and values whose name says that they are secret.
SECRET_PATTERNS = (
    (re.compile(r"(/(?:enter|judge|owner)/)[^\s\"'<>/]+"), rf"\1{REMOVED}"),
    (re.compile(r"(Bearer\s+)[^\s\"']+", re.IGNORECASE), rf"\1{REMOVED}"),
    (re.compile(r"(://)[^\s/@\"']+@"), rf"\1{REMOVED}@"),
    (re.compile(rf"([\w.-]*(?:{SECRET_NAME.pattern})[\w.-]*\s*[=:]\s*)[^\s\"',;]+", re.IGNORECASE), rf"\1{REMOVED}"),
)

_run: Path | None = None
_runs = Path("runs")


def set_run(runs: Path, name: str) -> None:
    """Set the run that the command is about: logs go to its folder, if it exists."""
    global _run, _runs
    _run, _runs = runs / name, runs


def write_log(error: BaseException, arguments: Sequence[str] | None = None) -> str:
    """Write the log; returns where it is, as part of a message: `the details are in FILE`.

    It goes to runs/<name>/logs/, to runs/logs/ if there is no such run yet, or to the folder of temporary files
    if neither can be written to. Only the user can read it.

    Args:
        arguments: of the command line; default: this process's.
    """
    text = without_secrets(_details(error, sys.argv if arguments is None else arguments))
    name = f"error-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.log"
    folders = [_runs / "logs", Path(tempfile.gettempdir())]
    if _run and _run.is_dir():
        folders.insert(0, _run / "logs")
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError:
            continue
        return f"the details are in {folder / name}"
    return "no log could be written; run it again with --debug to see the details"


def without_secrets(text: str) -> str:
    """The text without tokens, passwords and personal links."""
    for name, value in os.environ.items():
        if SECRET_NAME.search(name) and len(value) >= MIN_SECRET_LENGTH:
            text = text.replace(value, REMOVED)
    for pattern, replacement in SECRET_PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _details(error: BaseException, arguments: Sequence[str]) -> str:
    lines = [
        f"time: {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        f"command: {shlex.join(arguments)}",
        f"python: {platform.python_version()} on {platform.platform()}",
        *(f"{name}: {_version(name)}" for name in PACKAGES),
        "",
        *traceback.format_exception(error),
    ]
    return "\n".join(line.rstrip("\n") for line in lines) + "\n"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
