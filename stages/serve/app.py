"""The server: `POST /predict`, the page that uses it, and what operators ask for."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from pipeline.config.serve import ServeConfig
from pipeline.ui.web.error_lines import ErrorLines
from pipeline.ui.web.guard import Guard, Rules, known_hosts
from pipeline.ui.web.json_bodies import say_problems
from pipeline.ui.web.static_files import page_files
from stages.serve.engine import Engine, Full, Unusable
from stages.serve.metrics import Measured, Metrics
from stages.serve.schemas import Answer, Health, Limits, Model, Problem, entry
from stages.serve.uploads import BYTES, FORM, uploads

STATIC = Path(__file__).parent / "static"
FILES = page_files(STATIC, ("serve.css", "serve.js", "api.js", "results.js", "icon.svg"))
FRESH = {"Cache-Control": "no-cache"}
DESCRIPTION = "Classifies images with a policy that was aligned to people's judgments."

_PICTURE = {"type": "string", "format": "binary"}
BODY = {
    "requestBody": {
        "required": True,
        "description": "One image as it is, or one or more as the files of a form, whatever their fields are called.",
        "content": {
            "image/*": {"schema": _PICTURE},
            BYTES: {"schema": _PICTURE},
            FORM: {"schema": {"type": "object", "additionalProperties": {"type": "array", "items": _PICTURE}}},
        },
    }
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {
        "model": Problem,
        "description": "No HTTP, no or a malformed Host header, a body's length that is malformed.",
    },
    401: {"model": Problem, "description": "The bearer token is missing or wrong."},
    403: {"model": Problem, "description": "A browser sent it from another site's page."},
    408: {"model": Problem, "description": "The body did not come in in time."},
    413: {"model": Problem, "description": "Too many bytes, or too many images."},
    415: {"model": Problem, "description": "A content type that holds no images."},
    421: {"model": Problem, "description": "A host name that is not this server's."},
    422: {"model": Problem, "description": "The only image cannot be used, or the body is empty or malformed."},
    503: {
        "model": Problem,
        "description": "Too much is waiting; Retry-After says when to come again.",
        "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    },
}
LOCKED: dict[int | str, dict[str, Any]] = {401: PROBLEMS[401]}


@dataclass
class Desk:
    """What the addresses work with."""

    name: str
    engine: Engine
    metrics: Metrics
    settings: ServeConfig
    token: str | None = None


def make_app(desk: Desk) -> FastAPI:
    """The ASGI application; its end closes the engine."""
    engine, settings = desk.engine, desk.settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ErrorLines().on_loggers():
            yield
            await run_in_threadpool(engine.close)

    app = FastAPI(
        title=f"image-rlhf: {desk.name}",
        description=DESCRIPTION,
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    rules = Rules(
        known_hosts(settings.host, settings.allowed_hosts),
        "serve.allowed_hosts",
        settings.max_megabytes * 2**20,
        origin_needed=False,
        local_pictures=True,
    )
    app.add_middleware(Guard, rules=rules)
    app.add_middleware(Measured, metrics=desk.metrics)  # added last, so outermost: refusals are counted, too
    locked = [Depends(_bearer(desk.token))]

    @app.exception_handler(Full)
    async def full(request: Request, error: Full) -> Response:
        return JSONResponse({"detail": str(error)}, 503, {"Retry-After": str(error.seconds)})

    say_problems(app)

    @app.post(
        "/predict",
        dependencies=locked,
        response_model=Answer,
        response_model_exclude_unset=True,
        responses=PROBLEMS,
        openapi_extra=BODY,
        summary="Classify one image or many",
    )
    async def predict(
        request: Request,
        reference: Annotated[bool, Query(description="add the reference's prediction")] = False,
    ) -> Response:
        engine.check()
        async with uploads(request, settings, engine) as images:
            outcomes = await engine.predict([image.data for image in images], reference)
        if len(outcomes) == 1 and isinstance(outcomes[0], Unusable):
            raise HTTPException(422, f"{images[0].name}: {outcomes[0]}")
        entries = [entry(image.name, outcome) for image, outcome in zip(images, outcomes, strict=True)]
        text = Answer(predictions=entries).model_dump_json(exclude_unset=True)
        return Response(text, media_type="application/json")

    @app.get("/model", dependencies=locked, responses=LOCKED, summary="What answers, and its limits")
    async def model() -> Model:
        limits = Limits(
            images=settings.max_images, bytes=settings.max_megabytes * 2**20, pixels=engine.policy.max_pixels
        )
        return Model(
            name=desk.name,
            classes=list(engine.policy.classes),
            weights=engine.policy.weights,
            reference=engine.reference is not None,
            limits=limits,
        )

    @app.get("/healthz", responses={503: {"model": Health}}, summary="Whether requests are answered")
    async def healthz(response: Response) -> Health:
        response.status_code = 200 if engine.healthy else 503
        return Health(status="ok" if engine.healthy else "stopping")

    @app.get("/metrics", dependencies=locked, responses=LOCKED, summary="Figures for Prometheus")
    async def metrics() -> Response:
        return Response(desk.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(STATIC / "serve.html", headers=FRESH)

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404, "no such file")
        return FileResponse(FILES[name], headers=FRESH)

    return app


def _bearer(token: str | None) -> Callable[..., Awaitable[None]]:
    """A dependency that lets those in who know the token; everybody if there is none."""
    scheme = HTTPBearer(auto_error=False, description="needed if the server was started with a token")

    async def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(scheme)]) -> None:
        if token is None:
            return
        if given is None or not hmac.compare_digest(given.credentials.encode(), token.encode()):
            raise HTTPException(
                401,
                "a bearer token is needed: send the header `Authorization: Bearer <token>`",
                {"WWW-Authenticate": "Bearer"},
            )

    return check
