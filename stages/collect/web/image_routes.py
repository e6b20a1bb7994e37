"""The images of an annotator's questions, under names that are theirs alone."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Response
from starlette.concurrency import run_in_threadpool

from pipeline.data.decode import BadImage
from pipeline.data.decoder_pool import DecodingStopped
from stages.collect.image_renditions import SCREEN, ZOOMED
from stages.collect.web.access import Access
from stages.collect.web.desk import Desk


def image_routes(desk: Desk, access: Access) -> APIRouter:
    """`/judge/{slug}/images/{name}`, larger with `?zoom=true`."""
    routes = APIRouter()

    @routes.get("/judge/{slug}/images/{name}")
    async def image(annotator: Annotated[str, access.annotator], name: str, zoom: bool = False) -> Response:
        found = desk.presenter.image_named(annotator, name)
        if found is None:
            raise HTTPException(404, "no such image")
        try:
            made = await run_in_threadpool(desk.renditions.get, found, ZOOMED if zoom else SCREEN)
        except DecodingStopped:
            raise HTTPException(503, "the server is stopping") from None
        except BadImage as error:
            raise HTTPException(410, f"the image file cannot be read any more: {error}") from error
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return Response(made.data, media_type=made.media_type, headers=headers)

    return routes
