"""JSON bodies of requests: read within a deadline, validated by one pydantic model each, refused in one sentence."""

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
GONE = 499  # as nginx logs it; nobody is there to read it
MAX_PROBLEMS = 3  # that an answer names
MAX_PLACE = 80  # characters of a field's name, which may be the sender's own


async def read_body(request: Request, seconds: float, setting: str) -> bytes:
    """All bytes of a body.

    Args:
        setting: the key of the configuration that `seconds` comes from, for messages.

    Raises:
        HTTPException: 408, it did not come in within `seconds`; 499, the sender went away.
    """
    try:
        async with asyncio.timeout(seconds):
            return await request.body()
    except TimeoutError:
        raise too_slow(seconds, setting) from None
    except ClientDisconnect:
        raise HTTPException(GONE, "the sender went away") from None


def too_slow(seconds: float, setting: str) -> HTTPException:
    """The answer to a body that did not come in."""
    return HTTPException(
        408, f"the body did not come in within {seconds:g} seconds ({setting})", {"Connection": "close"}
    )


def json_body(model: type[Model], seconds: float, setting: str) -> Callable[[Request], Awaitable[Model]]:
    """A dependency that gives a request's body as a model, whatever content type it says it has: beacons are text.

    It answers 422 to a body that is none, with the first problems in one sentence.
    """

    async def read(request: Request) -> Model:
        data = await read_body(request, seconds, setting)
        try:
            return model.model_validate_json(data)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise HTTPException(422, problems_text(found)) from None

    return read


def problems_text(problems: Sequence[Mapping[str, Any]]) -> str:
    """What pydantic found, in one sentence that any encoding can write; values are not repeated."""
    said = [f"{'.'.join(map(str, one['loc']))[:MAX_PLACE] or 'body'}: {one['msg']}" for one in problems[:MAX_PROBLEMS]]
    more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
    return "the request is malformed: " + _printable("; ".join(said) + more)


def _printable(text: str) -> str:
    """Line breaks and what no encoding can write are escaped."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def handle_validation_errors(app: FastAPI) -> None:
    """Let an application answer malformed addresses and queries as `json_body` answers bodies."""

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": problems_text(error.errors())}, 422)
