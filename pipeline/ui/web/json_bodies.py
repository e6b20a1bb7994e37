"""JSON bodies of requests: read within a deadline, and validated by a pydantic model with a one-line error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

Model = TypeVar("Model", bound=BaseModel)
CLIENT_CLOSED = 499  # as in nginx's log; no client reads it
MAX_PROBLEMS = 3  # listed in a response
MAX_FIELD_NAME = 80  # characters; the name may come from the client


async def read_body(request: Request, seconds: float, setting: str) -> bytes:
    """All bytes of a body.

    Args:
        setting: the key of the configuration that `seconds` comes from, for messages.

    Raises:
        HTTPException: 408, not received within `seconds`; 499, the sender disconnected.
    """
    try:
        async with asyncio.timeout(seconds):
            return await request.body()
    except TimeoutError:
        raise too_slow(seconds, setting) from None
    except ClientDisconnect:
        raise HTTPException(CLIENT_CLOSED, "the sender disconnected") from None


def too_slow(seconds: float, setting: str) -> HTTPException:
    """The response to a body that was not received in time."""
    return HTTPException(
        408, f"the body was not received within {seconds:g} seconds ({setting})", {"Connection": "close"}
    )


def json_body(model: type[Model], seconds: float, setting: str) -> Callable[[Request], Awaitable[Model]]:
    """A dependency that parses a request's body as a model, for any content type (beacons are sent as text).

    An invalid body gives 422 with the first problems in one line.
    """

    async def read(request: Request) -> Model:
        data = await read_body(request, seconds, setting)
        try:
            return model.model_validate_json(data)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            raise HTTPException(422, problems_text(problems)) from None

    return read


def problems_text(problems: Sequence[Mapping[str, Any]]) -> str:
    """pydantic's errors in one printable line, without the values."""
    lines = [
        f"{'.'.join(map(str, one['loc']))[:MAX_FIELD_NAME] or 'body'}: {one['msg']}" for one in problems[:MAX_PROBLEMS]
    ]
    more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
    return "the request is malformed: " + _printable("; ".join(lines) + more)


def _printable(text: str) -> str:
    """The text with line breaks and unprintable characters escaped."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def handle_validation_errors(app: FastAPI) -> None:
    """Answer malformed paths and queries as `json_body` answers malformed bodies."""

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": problems_text(error.errors())}, 422)
