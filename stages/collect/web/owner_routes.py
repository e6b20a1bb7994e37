"""Routes of the owner's page: progress, links and quality."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from stages.collect.web.access import Access
from stages.collect.web.page_context import PageContext


def owner_routes(context: PageContext, access: Access) -> APIRouter:
    """`/owner/{slug}/status`."""
    routes = APIRouter()

    @routes.get("/owner/{slug}/status", dependencies=[access.owner])
    async def status(request: Request) -> dict[str, Any]:
        context.assignments.catch_up()
        quality = await run_in_threadpool(context.overview.quality, context.assignments.ledger.position)
        live = context.live is not None
        overview = context.overview.status(context.assignments, context.links, str(request.base_url), live)
        return overview | {"quality": quality}

    return routes
