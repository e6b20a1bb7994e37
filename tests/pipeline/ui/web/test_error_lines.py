"""Errors in the terminal are few, whoever causes them, and none is left out without a word."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Iterator

import pytest
from support.coroutines import run_coroutine

from pipeline.ui.web.error_lines import MAX_KINDS, MAX_LINES, PERIOD_SECONDS, ErrorLines


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """What asyncio and uvicorn log in the test and a filter lets through."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler, loggers = Keep(), [logging.getLogger(name) for name in ("asyncio", "uvicorn.error")]
    for logger in loggers:
        logger.addHandler(handler)
    yield records
    for logger in loggers:
        logger.removeHandler(handler)


def shown(errors: ErrorLines, *texts: str) -> list[str]:
    """What the terminal shows of errors with these texts."""
    records = [logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, text, None, None) for text in texts]
    return [record.getMessage() for record in records if errors.filter(record)]


def test_lines_of_one_kind_are_counted_beyond_the_first(clock: Clock) -> None:
    errors = ErrorLines(clock)
    texts = ["the disk is full"] * 1000 + ["something else"]
    lines = shown(errors, *texts)
    assert lines[: MAX_LINES - 1] == ["the disk is full"] * (MAX_LINES - 1)
    assert lines[MAX_LINES - 1 :] == [
        "the disk is full (more like this are counted, not shown, for 60 s)",
        "something else",
    ]
    clock.now = PERIOD_SECONDS
    assert shown(errors, "the disk is full") == ["the disk is full (995 more like this before)"]


def test_made_up_kinds_are_one_kind(clock: Clock) -> None:
    errors = ErrorLines(clock)
    texts = [f"error {number}" for number in range(10 * MAX_KINDS)]
    assert len(shown(errors, *texts)) == MAX_KINDS + MAX_LINES


def test_at_the_end_the_rest_is_counted(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    errors = ErrorLines(clock)
    with errors.on_loggers():
        shown(errors, *["error"] * (MAX_LINES + 7))
    assert caplog.messages == ["7 more errors like those above were not shown"]
    caplog.clear()
    with ErrorLines(clock).on_loggers():
        pass
    assert caplog.text == ""


def test_connections_that_cannot_be_accepted_are_one_sentence(logged: list[logging.LogRecord]) -> None:
    """asyncio's own loop, told that there are no more open files: it logs a line and a traceback for each."""

    class NoFiles(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            raise OSError(errno.EMFILE, "Too many open files")

    async def serve() -> None:
        listener = NoFiles()
        listener.bind(("127.0.0.1", 0))
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=listener, backlog=500)
        with socket.create_connection(listener.getsockname()):
            while not logged:
                await asyncio.sleep(0.01)
        server.close()

    with ErrorLines().on_loggers():
        run_coroutine(serve())
    assert len(logged) <= MAX_LINES
    said = logged[0].getMessage()
    assert said.startswith("Too many open files: new connections wait; raise the limit of open files")
    assert "\n" not in said
    assert logged[0].exc_info is None


def test_tracebacks_of_one_kind_are_few(logged: list[logging.LogRecord]) -> None:
    logger = logging.getLogger("uvicorn.error")
    with ErrorLines().on_loggers():
        for number in range(100):
            try:
                raise ValueError("a bug" if number % 2 else "another")
            except ValueError as error:
                logger.error("Exception in ASGI application\n", exc_info=error)
    assert len(logged) == 2 * MAX_LINES
    logger.error("afterwards nothing is left of it")
    assert len(logged) == 2 * MAX_LINES + 1
