"""What the owner's page asks: progress, links and quality."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from stages.collect.web.access import Access
from stages.collect.web.desk import Desk


def owner_routes(desk: Desk, access: Access) -> APIRouter:
    """`/owner/{slug}/status`."""
    routes = APIRouter()

    @routes.get("/owner/{slug}/status", dependencies=[access.owner])
    async def status(request: Request) -> dict[str, Any]:
        desk.assignments.catch_up()
        quality = await run_in_threadpool(desk.overview.quality, desk.assignments.ledger.position)
        return desk.overview.status(desk.assignments, desk.links, str(request.base_url)) | {"quality": quality}

    return routes
