"""Routes of the images, under names that are valid for one annotator only."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Response
from starlette.concurrency import run_in_threadpool

from pipeline.data.decode import BadImage
from pipeline.data.decoder_pool import DecodingStopped
from pipeline.kinds.page_items import Renditions
from stages.collect.image_renditions import SCREEN_PIXELS, TILE_PIXELS, ZOOM_PIXELS
from stages.collect.web.access import Access
from stages.collect.web.task_json import Presenter


def image_routes(presenter: Presenter, renditions: Renditions, access: Access) -> APIRouter:
    """`/judge/{slug}/images/{name}`, larger with `?zoom=true`, small with `?tile=true`."""
    routes = APIRouter()

    @routes.get("/judge/{slug}/images/{name}")
    async def image(
        annotator: Annotated[str, access.annotator], name: str, zoom: bool = False, tile: bool = False
    ) -> Response:
        image_id = presenter.image_named(annotator, name)
        if image_id is None:
            raise HTTPException(404, "no such image")
        try:
            side = ZOOM_PIXELS if zoom else TILE_PIXELS if tile else SCREEN_PIXELS
            rendition = await run_in_threadpool(renditions.get, image_id, side)
        except DecodingStopped:
            raise HTTPException(503, "the server is stopping") from None
        except BadImage as error:
            raise HTTPException(410, f"the image file cannot be read: {error}") from error
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return Response(rendition.data, media_type=rendition.media_type, headers=headers)

    return routes
