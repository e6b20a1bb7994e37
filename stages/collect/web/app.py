"""The judging page's ASGI application: JSON routes over `Assignments`, each behind its annotator's link.

`/enter/<token>` exchanges a link for a cookie that is bound to the annotator's own URLs, `/judge/<slug>/...`, so that two
links in one browser do not interfere.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response

from feedback_store.errors import FeedbackError
from pipeline.ui.web.error_lines import ErrorLines
from pipeline.ui.web.guard import Guard, Rules
from pipeline.ui.web.json_bodies import handle_validation_errors
from stages.collect.web.access import Access
from stages.collect.web.annotator_routes import annotator_routes
from stages.collect.web.group_commit import Committer
from stages.collect.web.image_routes import image_routes
from stages.collect.web.live_routes import live_routes
from stages.collect.web.owner_routes import owner_routes
from stages.collect.web.page_context import PageContext
from stages.collect.web.page_routes import page_routes
from stages.collect.web.request_bodies import MAX_BODY
from stages.collect.web.storage_errors import StorageErrors


def make_app(context: PageContext) -> FastAPI:
    """The ASGI application."""
    committer, errors = Committer(context.assignments), ErrorLines()
    storage_errors, access = StorageErrors(), Access(context.links, context.secure)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with errors.on_loggers():
            yield
            await committer.finish()

    app = FastAPI(title="image-rlhf collect", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, rules=Rules(context.hosts, "collect.server.allowed_hosts", MAX_BODY))
    handle_validation_errors(app)

    @app.exception_handler(FeedbackError)
    async def not_stored(request: Request, error: FeedbackError) -> Response:
        return storage_errors.reply(error)

    app.include_router(page_routes(access))
    app.include_router(annotator_routes(context, access, committer, storage_errors))
    if context.renditions is not None:
        app.include_router(image_routes(context.presenter, context.renditions, access))
    app.include_router(owner_routes(context, access))
    if context.live is not None:
        app.include_router(live_routes(context.live, access))
    return app
