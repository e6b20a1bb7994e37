"""Images from a request's body: one image as it is, or the files of a form. Nothing is written to disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from pipeline.config.serve import ServeConfig
from pipeline.ui.web.json_bodies import CLIENT_CLOSED, too_slow
from stages.serve.engine import Engine

FORM = "multipart/form-data"
BYTES = "application/octet-stream"
MAX_FIELDS = 8  # of a form, besides its files; they are ignored
# It logs every malformed form, so that a client could fill the terminal; the client gets the reason anyway.
logging.getLogger("python_multipart").setLevel(logging.ERROR)
MAX_NAME = 200  # characters of a file's name that the answer repeats


@dataclass(frozen=True)
class Upload:
    """One image: the name from its sender, and its bytes."""

    name: str
    data: bytes


class _InMemory(MultiPartParser):
    spool_max_size = 0  # never to disk: bytes in memory are counted

    @property
    def _charset(self) -> str:
        """File names are UTF-8, as browsers send them; another encoding could make them unprintable."""
        return "utf-8"

    @_charset.setter
    def _charset(self, named_by_sender: str) -> None:
        pass

    @property
    def begun(self) -> int:
        """Number of files whose beginning was received."""
        return len(self._files_to_close_on_error)

    def close(self) -> None:
        """Free all files; a form's own `close` leaves incomplete ones."""
        for file in self._files_to_close_on_error:
            file.close()


def _content_type(request: Request) -> str:
    """The body's content type, without parameters.

    Raises:
        HTTPException: 415, not a content type of images.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in (FORM, BYTES) or kind.startswith("image/"):
        return kind
    raise HTTPException(
        415,
        f"content type {kind[:MAX_NAME] or 'missing'}: send an image as image/jpeg or the like, or files as {FORM} "
        '(curl: -H "Content-Type: image/jpeg" --data-binary @photo.jpg, or -F file=@photo.jpg)',
    )


@asynccontextmanager
async def uploads(request: Request, settings: ServeConfig, engine: Engine) -> AsyncIterator[list[Upload]]:
    """The images of a request; inside the context its bytes are counted as waiting.

    Raises:
        HTTPException: 408 too slow, 413 too many images, 415 no images, 422 an empty or malformed body.
        QueueFull: too many bytes wait already.
    """
    kind = _content_type(request)
    held = 0

    async def counted() -> AsyncGenerator[bytes, None]:
        nonlocal held
        async for chunk in request.stream():
            engine.take_bytes(len(chunk))
            held += len(chunk)
            yield chunk

    try:
        try:
            async with asyncio.timeout(settings.read_seconds):
                images = await (_form_files if kind == FORM else _single_image)(request, counted(), settings)
        except TimeoutError:
            raise too_slow(settings.read_seconds, "serve.read_seconds") from None
        except ClientDisconnect:
            raise HTTPException(CLIENT_CLOSED, "the sender disconnected") from None
        yield images
    finally:
        engine.give_back_bytes(held)


async def _single_image(request: Request, chunks: AsyncGenerator[bytes, None], settings: ServeConfig) -> list[Upload]:
    data = b"".join([chunk async for chunk in chunks])
    if not data:
        raise HTTPException(422, "the body is empty: send the bytes of an image")
    return [Upload("image", data)]


async def _form_files(request: Request, chunks: AsyncGenerator[bytes, None], settings: ServeConfig) -> list[Upload]:
    parser = _InMemory(request.headers, chunks, max_files=settings.max_images, max_fields=MAX_FIELDS)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise HTTPException(
                413,
                f"too many images: a request may have {settings.max_images} (serve.max_images); send the rest in another",
            ) from None
        raise HTTPException(422, f"malformed form: {error.message}") from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    try:
        if len(files) < parser.begun:
            raise HTTPException(422, "malformed form: it ends in the middle of a file; send it completely")
        found = [Upload((file.filename or "image")[:MAX_NAME], await file.read()) for file in files]
    finally:
        parser.close()
    if not found:
        raise HTTPException(422, "the form holds no file: send images as files (curl: -F file=@photo.jpg)")
    return found
