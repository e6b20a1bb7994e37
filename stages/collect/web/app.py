"""The page's server: a few JSON addresses over `Assignments`, each behind its annotator's link.

`/enter/<token>` turns a link into a cookie that is bound to the annotator's own addresses, `/judge/<slug>/...`, so that
two links opened in one browser do not mix.
"""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from feedback_store.errors import FeedbackError
from pipeline.data.decode import BadImage
from pipeline.data.decoder_pool import DecodingStopped
from pipeline.kinds import kinds
from pipeline.ui.web.error_lines import ErrorLines
from pipeline.ui.web.guard import Guard, Rules
from pipeline.ui.web.json_bodies import json_body, say_problems
from pipeline.ui.web.static_files import page_files
from stages.collect.assignments import Assignments
from stages.collect.image_renditions import SCREEN, ZOOMED, Renditions
from stages.collect.tasks import Answer
from stages.collect.web.group_commit import Committer
from stages.collect.web.owner_overview import Overview
from stages.collect.web.personal_links import OWNER, Link, Links
from stages.collect.web.storage_errors import StorageErrors
from stages.collect.web.task_json import Presenter

STATIC = Path(__file__).parent / "static"
FILES = page_files(STATIC, ("judge.css", "judge.js", "answer_retry.js", "view.js", "keys.js", "owner.js", "icon.svg"))
COOKIE = "link"
MAX_BODY = 64 * 1024  # a hundred answers are a tenth of that
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NextBody(Body):
    holding: Annotated[list[Key], Field(max_length=500)] = []
    wanted: Annotated[int, Field(ge=0, le=50)] = 6


class AnswerBody(Body):
    """One entry of the browser's outbox; `age_ms` is how long ago it was given, by the browser's own clock."""

    id: Id
    item: Key | None = None
    answer: Annotated[str, Field(max_length=500)] = ""
    response_ms: Annotated[int, Field(ge=0, lt=10**12)] | None = None
    age_ms: Annotated[int, Field(ge=0, lt=10**12)] = 0
    retracts: Id | None = None


class AnswersBody(Body):
    answers: Annotated[list[AnswerBody], Field(max_length=100)]


class ItemsBody(Body):
    items: Annotated[list[Key], Field(max_length=500)]


@dataclass
class Desk:
    """What the addresses work with."""

    assignments: Assignments
    links: Links
    presenter: Presenter
    renditions: Renditions
    overview: Overview
    hosts: frozenset[str]
    secure: bool = False
    read_seconds: float = 20.0


def make_app(desk: Desk) -> FastAPI:
    """The ASGI application."""
    committer, errors = Committer(desk.assignments), ErrorLines()
    storage_errors = StorageErrors()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with errors.on_loggers():
            yield
            await committer.finish()

    app = FastAPI(title="image-rlhf collect", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, rules=Rules(desk.hosts, "collect.server.allowed_hosts", MAX_BODY))
    say_problems(app)

    @app.exception_handler(FeedbackError)
    async def not_stored(request: Request, error: FeedbackError) -> Response:
        return storage_errors.reply(error)

    def link_of(request: Request, slug: str) -> Link:
        link = desk.links.find(request.cookies.get(COOKIE, ""))
        if link is None:
            raise HTTPException(401, "open your personal link first")
        if not hmac.compare_digest(link.slug, slug):
            raise HTTPException(403, "this is another person's link")
        return link

    def annotator_of(link: Annotated[Link, Depends(link_of)]) -> str:
        if link.name == OWNER:
            raise HTTPException(403, "this page is an annotator's")
        return link.name

    def owner_of(link: Annotated[Link, Depends(link_of)]) -> None:
        if link.name != OWNER:
            raise HTTPException(403, "this page is the owner's")

    def sent(model: type[Body]) -> Any:
        return Depends(json_body(model, desk.read_seconds, "collect.server.read_seconds"))

    Annotator = Annotated[str, Depends(annotator_of)]

    @app.get("/enter/{token}")
    async def enter(token: str) -> Response:
        link = desk.links.find(token)
        if link is None:
            raise HTTPException(401, "this link is not valid; ask for a new one")
        response = RedirectResponse(link.home, 303)
        response.set_cookie(
            COOKIE, link.token, max_age=90 * 86_400, path=link.home, httponly=True, samesite="lax", secure=desk.secure
        )
        return response

    @app.get("/judge/{slug}/", dependencies=[Depends(annotator_of)])
    async def page() -> Response:
        return FileResponse(STATIC / "judge.html", headers={"Cache-Control": "no-cache"})

    @app.get("/owner/{slug}/", dependencies=[Depends(owner_of)])
    async def owner_page() -> Response:
        return FileResponse(STATIC / "owner.html", headers={"Cache-Control": "no-cache"})

    @app.get("/{kind}/{slug}/static/{name}", dependencies=[Depends(link_of)])
    async def static(name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404, "no such file")
        return FileResponse(FILES[name], headers={"Cache-Control": "no-cache"})

    @app.get("/judge/{slug}/static/kinds/{name}.js", dependencies=[Depends(link_of)])
    async def kind_script(name: str) -> Response:
        script = kinds.get(name).script if name in kinds else None
        if script is None:
            raise HTTPException(404, "no such file")
        return Response(script, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    @app.get("/judge/{slug}/session")
    async def session(annotator: Annotator) -> dict[str, Any]:
        return desk.presenter.session(annotator) | {"progress": asdict(desk.assignments.progress(annotator))}

    @app.post("/judge/{slug}/next")
    async def next_tasks(annotator: Annotator, body: Annotated[NextBody, sent(NextBody)]) -> dict[str, Any]:
        tasks = desk.assignments.take(annotator, body.wanted, body.holding)
        until = None if tasks or not body.wanted else desk.assignments.waiting_until(annotator)
        return {
            "tasks": [desk.presenter.task(annotator, task) for task in tasks],
            "wait_seconds": None if until is None else max(0.0, until - desk.assignments.clock()),
            "progress": asdict(desk.assignments.progress(annotator)),
        }

    @app.post("/judge/{slug}/answers")
    async def answers(annotator: Annotator, body: Annotated[AnswersBody, sent(AnswersBody)]) -> dict[str, Any]:
        desk.assignments.catch_up()  # an answer that is sent again may be on disk since a file was repaired
        accepted = desk.assignments.check(annotator, [_answer(entry) for entry in body.answers])
        await committer.commit(accepted)
        if accepted.judgments:
            storage_errors.stored()
        return {
            "stored": accepted.known + [judgment.id for judgment in accepted.judgments],
            "refused": [asdict(refused) for refused in accepted.refused],
            "progress": asdict(desk.assignments.progress(annotator)),
        }

    @app.post("/judge/{slug}/skip")
    async def skip(annotator: Annotator, body: Annotated[ItemsBody, sent(ItemsBody)]) -> dict[str, Any]:
        for key in body.items:
            desk.assignments.skip(annotator, key)
        return {}

    @app.post("/judge/{slug}/release")
    async def release(annotator: Annotator, body: Annotated[ItemsBody, sent(ItemsBody)]) -> dict[str, Any]:
        desk.assignments.release(annotator, body.items)
        return {}

    @app.get("/judge/{slug}/images/{name}")
    async def image(annotator: Annotator, name: str, zoom: bool = False) -> Response:
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

    @app.get("/owner/{slug}/status", dependencies=[Depends(owner_of)])
    async def status(request: Request) -> dict[str, Any]:
        desk.assignments.catch_up()
        quality = await run_in_threadpool(desk.overview.quality)
        return desk.overview.status(desk.assignments, desk.links, str(request.base_url)) | {"quality": quality}

    return app


def _answer(entry: AnswerBody) -> Answer:
    given = datetime.now(UTC) - timedelta(milliseconds=entry.age_ms)
    return Answer(
        id=entry.id,
        item=entry.item or "",
        answer=entry.answer,
        response_ms=entry.response_ms,
        created_at=given.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        retracts=entry.retracts or "",
    )
