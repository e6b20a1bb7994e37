"""Errors when answers cannot be stored: logged once per reason, and reported to each annotator's page every time."""

from __future__ import annotations

import logging
import time

from fastapi import Response
from fastapi.responses import JSONResponse

from feedback_store.errors import ChangedError, FeedbackError, UnreachableError

_log = logging.getLogger(__name__)

REPEAT_SECONDS = 60.0  # until the same reason is logged again; every waiting page tries again each few seconds


class StorageErrors:
    """Remembers the reasons that were logged."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}  # time of each reason

    def reply(self, error: FeedbackError) -> Response:
        """A response 507 with a short reason; the path and what to do are logged for the owner only."""
        message, now = str(error), time.monotonic()
        if now - self._logged.get(message, -REPEAT_SECONDS) >= REPEAT_SECONDS:
            _log.error(f"{message}; answers wait in the browsers until then")
            recent = {reason: at for reason, at in self._logged.items() if now - at < REPEAT_SECONDS}
            self._logged = recent | {message: now}
        return JSONResponse({"detail": f"the server cannot store answers ({_reason(error)})"}, 507)

    def stored(self) -> None:
        """Log, after an error, that answers are stored again."""
        if self._logged:
            _log.info("Answers are stored again.")
            self._logged = {}


def _reason(error: FeedbackError) -> str:
    if isinstance(error, ChangedError):
        return "the file of answers was changed or removed by another program; the owner has to fix it"
    if isinstance(error, UnreachableError) or isinstance(error.__cause__, UnreachableError):
        return "the database cannot be reached"
    return getattr(error.__cause__, "strerror", None) or "see the owner's terminal"
