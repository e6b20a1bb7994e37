"""Show the library's log on the terminal: INFO as plain text, warnings and errors with a prefix."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

PACKAGES = ("feedback_store", "pipeline", "stages")
STYLES = {logging.WARNING: ("warning: ", "yellow"), logging.ERROR: ("error: ", "red")}


class TerminalHandler(logging.Handler):
    """Writes to the terminal's error stream; raises if the stream is closed, as click.echo does."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        prefix, colour = STYLES.get(min(record.levelno, logging.ERROR) // 10 * 10, ("", None))
        click.echo(click.style(prefix, fg=colour, bold=True) + text if prefix else text, err=True)


@contextmanager
def logged_to_terminal() -> Iterator[None]:
    """Show the log of this project's packages, from level INFO."""
    handler = TerminalHandler(logging.INFO)
    loggers = [logging.getLogger(name) for name in PACKAGES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
