"""The server: `POST /predict`, the page that uses it, and `/model`, `/healthz` and `/metrics` for operators."""

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
from pipeline.ui.web.guard import Guard, Rules, accepted_hosts
from pipeline.ui.web.json_bodies import handle_validation_errors
from pipeline.ui.web.static_files import page_files
from stages.serve.engine import Engine, QueueFull, UnusableImage
from stages.serve.metrics import Metrics, MetricsMiddleware
from stages.serve.schemas import ErrorResponse, Health, Limits, Model, PredictResponse, entry
from stages.serve.uploads import BYTES, FORM, uploads

STATIC = Path(__file__).parent / "static"
FILES = page_files(STATIC, ("serve.css", "serve.js", "api.js", "results.js", "icon.svg"))
REVALIDATE = {"Cache-Control": "no-cache"}
DESCRIPTION = "Classifies images with a policy that was aligned to people's judgments."

_PICTURE = {"type": "string", "format": "binary"}
BODY = {
    "requestBody": {
        "required": True,
        "description": "One image as it is, or one or more as the files of a form; field names are ignored.",
        "content": {
            "image/*": {"schema": _PICTURE},
            BYTES: {"schema": _PICTURE},
            FORM: {"schema": {"type": "object", "additionalProperties": {"type": "array", "items": _PICTURE}}},
        },
    }
}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {
        "model": ErrorResponse,
        "description": "Malformed HTTP, a missing or malformed Host header, or a malformed body length.",
    },
    401: {"model": ErrorResponse, "description": "The bearer token is missing or wrong."},
    403: {"model": ErrorResponse, "description": "A page of another site sent it."},
    408: {"model": ErrorResponse, "description": "The body was not received in time."},
    413: {"model": ErrorResponse, "description": "Too many bytes, or too many images."},
    415: {"model": ErrorResponse, "description": "Not a content type of images."},
    421: {"model": ErrorResponse, "description": "The Host header is not one of the accepted names."},
    422: {"model": ErrorResponse, "description": "A single image that cannot be used, or an empty or malformed body."},
    503: {
        "model": ErrorResponse,
        "description": "The queue is full; Retry-After says when to try again.",
        "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    },
}
LOCKED: dict[int | str, dict[str, Any]] = {401: ERRORS[401]}


@dataclass
class ServerState:
    """What the routes use."""

    name: str
    engine: Engine
    metrics: Metrics
    settings: ServeConfig
    token: str | None = None


def make_app(state: ServerState) -> FastAPI:
    """The ASGI application; it closes the engine at shutdown."""
    engine, settings = state.engine, state.settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ErrorLines().on_loggers():
            yield
            await run_in_threadpool(engine.close)

    app = FastAPI(
        title=f"image-rlhf: {state.name}",
        description=DESCRIPTION,
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    rules = Rules(
        accepted_hosts(settings.host, settings.allowed_hosts),
        "serve.allowed_hosts",
        settings.max_megabytes * 2**20,
        origin_needed=False,
        local_pictures=True,
    )
    app.add_middleware(Guard, rules=rules)
    app.add_middleware(MetricsMiddleware, metrics=state.metrics)  # added last, so outermost: refusals are counted, too
    locked = [Depends(_bearer(state.token))]

    @app.exception_handler(QueueFull)
    async def full(request: Request, error: QueueFull) -> Response:
        return JSONResponse({"detail": str(error)}, 503, {"Retry-After": str(error.seconds)})

    handle_validation_errors(app)

    @app.post(
        "/predict",
        dependencies=locked,
        response_model=PredictResponse,
        response_model_exclude_unset=True,
        responses=ERRORS,
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
        if len(outcomes) == 1 and isinstance(outcomes[0], UnusableImage):
            raise HTTPException(422, f"{images[0].name}: {outcomes[0]}")
        entries = [entry(image.name, outcome) for image, outcome in zip(images, outcomes, strict=True)]
        text = PredictResponse(predictions=entries).model_dump_json(exclude_unset=True)
        return Response(text, media_type="application/json")

    @app.get("/model", dependencies=locked, responses=LOCKED, summary="The model and its limits")
    async def model() -> Model:
        limits = Limits(
            images=settings.max_images, bytes=settings.max_megabytes * 2**20, pixels=engine.policy.max_pixels
        )
        return Model(
            name=state.name,
            classes=list(engine.policy.classes),
            weights=engine.policy.weights,
            reference=engine.reference is not None,
            limits=limits,
        )

    @app.get("/healthz", responses={503: {"model": Health}}, summary="Whether the server is ready")
    async def healthz(response: Response) -> Health:
        response.status_code = 200 if engine.healthy else 503
        return Health(status="ok" if engine.healthy else "stopping")

    @app.get("/metrics", dependencies=locked, responses=LOCKED, summary="Metrics for Prometheus")
    async def metrics() -> Response:
        return Response(state.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(STATIC / "serve.html", headers=REVALIDATE)

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404, "no such file")
        return FileResponse(FILES[name], headers=REVALIDATE)

    return app


def _bearer(token: str | None) -> Callable[..., Awaitable[None]]:
    """A dependency that requires the bearer token, if there is one."""
    scheme = HTTPBearer(auto_error=False, description="required if the server was started with a token")

    async def check(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(scheme)]) -> None:
        if token is None:
            return
        if credentials is None or not hmac.compare_digest(credentials.credentials.encode(), token.encode()):
            raise HTTPException(
                401,
                "a bearer token is required; send the header `Authorization: Bearer <token>`",
                {"WWW-Authenticate": "Bearer"},
            )

    return check
