"""Routes of an annotator's page: session, next questions, answers, skip and release."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from pipeline.ui.web.json_bodies import json_body
from stages.collect.web.access import Access
from stages.collect.web.group_commit import Committer
from stages.collect.web.page_context import PageContext
from stages.collect.web.request_bodies import AnswersBody, Body, ItemsBody, NextBody
from stages.collect.web.storage_errors import StorageErrors


def annotator_routes(
    context: PageContext, access: Access, committer: Committer, storage_errors: StorageErrors
) -> APIRouter:
    """The JSON routes under `/judge/{slug}`."""
    routes, assignments = APIRouter(prefix="/judge/{slug}"), context.assignments
    Annotator = Annotated[str, access.annotator]

    def sent(model: type[Body]) -> Any:
        return Depends(json_body(model, context.read_seconds, "collect.server.read_seconds"))

    @routes.get("/session")
    async def session(annotator: Annotator) -> dict[str, Any]:
        progress = {"progress": asdict(assignments.progress(annotator)), "live": context.live is not None}
        return context.presenter.session(annotator) | progress

    @routes.post("/next")
    async def next_tasks(annotator: Annotator, body: Annotated[NextBody, sent(NextBody)]) -> dict[str, Any]:
        tasks = assignments.take(annotator, body.wanted, body.holding)
        until = None if tasks or not body.wanted else assignments.waiting_until(annotator)
        return {
            "tasks": [context.presenter.task(annotator, task) for task in tasks],
            "wait_seconds": None if until is None else max(0.0, until - assignments.clock()),
            "progress": asdict(assignments.progress(annotator)),
        }

    @routes.post("/answers")
    async def answers(annotator: Annotator, body: Annotated[AnswersBody, sent(AnswersBody)]) -> dict[str, Any]:
        assignments.catch_up()  # after a file was restored, an answer that is sent again may be stored already
        accepted = assignments.check(annotator, [entry.as_answer() for entry in body.answers])
        await committer.commit(accepted)
        if accepted.judgments:
            storage_errors.stored()
        return {
            "stored": accepted.known + accepted.taken,
            "refused": [asdict(refused) for refused in accepted.refused],
            "progress": asdict(assignments.progress(annotator)),
        }

    @routes.post("/skip")
    async def skip(annotator: Annotator, body: Annotated[ItemsBody, sent(ItemsBody)]) -> dict[str, Any]:
        for key in body.items:
            assignments.skip(annotator, key)
        return {}

    @routes.post("/release")
    async def release(annotator: Annotator, body: Annotated[ItemsBody, sent(ItemsBody)]) -> dict[str, Any]:
        assignments.release(annotator, body.items)
        return {}

    return routes
