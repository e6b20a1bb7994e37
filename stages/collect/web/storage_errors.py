"""What is said when answers cannot be stored: to the terminal once for each reason, to each annotator's page every time."""

from __future__ import annotations

import time

import click
from fastapi import Response
from fastapi.responses import JSONResponse

from feedback_store.errors import ChangedError, FeedbackError

SAID_AGAIN = 60.0  # seconds after which the same reason is printed again; every waiting page asks each few seconds


class StorageErrors:
    """Remembers what the terminal was told."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}  # when each reason was printed

    def reply(self, error: FeedbackError) -> Response:
        """507 with the reason in a few words: the owner's terminal shows the path and what to do, which annotators need not."""
        message, now = str(error), time.monotonic()
        if now - self._said.get(message, -SAID_AGAIN) >= SAID_AGAIN:
            click.echo(f"error: {message}; answers wait in the browsers until then", err=True)
            self._said = {said: at for said, at in self._said.items() if now - at < SAID_AGAIN} | {message: now}
        return JSONResponse({"detail": f"the server cannot store answers ({_reason(error)})"}, 507)

    def stored(self) -> None:
        """Answers were stored: what was wrong is over."""
        if self._said:
            click.echo("Answers are stored again.", err=True)
            self._said = {}


def _reason(error: FeedbackError) -> str:
    if isinstance(error, ChangedError):
        return "the file of answers was changed or removed by another program; the owner must put it right"
    return getattr(error.__cause__, "strerror", None) or "see the terminal"
