"""`make serve`: a page and an HTTP API that classify images with the aligned policy."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator

import click
import uvicorn

from pipeline.config import Config
from pipeline.config.serve import ServeConfig
from pipeline.data.decode_limits import Limits
from pipeline.errors import UserError
from pipeline.models.predictor import REFERENCE, Predictor
from pipeline.run.run_folder import RunFolder
from pipeline.run.runtime import peak_memory_mb
from pipeline.ui.web.connections import BACKLOG, ConnectionLimits
from pipeline.ui.web.listening import ALL_INTERFACES, allow_open_files, listening, reachable_name, serve_until_stopped
from stages.serve.app import ServerState, make_app
from stages.serve.engine import Engine
from stages.serve.metrics import Metrics

_log = logging.getLogger(__name__)

TOKEN_VARIABLE = "IMAGE_RLHF_TOKEN"
MIN_TOKEN_LENGTH = 16  # characters
CONNECTION_BYTES = 64 * 1024  # uvicorn's body buffer, the largest part of a connection
ALLOCATOR_SLACK = 1.1  # allocators return freed memory late


def run(config: Config, announce: Callable[[str], object] = _log.info) -> None:
    """Serve until Ctrl-C or SIGTERM, then finish the requests that were accepted.

    Args:
        announce: called with each line about the address once the server listens.

    Raises:
        UserError: there is no policy yet, or the server cannot listen on the address.
    """
    settings = config.serve
    token = read_token()
    policy, reference = load(config)
    allow_open_files()
    with listening(settings.host, settings.port, "serve") as listener:
        metrics = Metrics()
        engine = Engine(policy, reference, settings, metrics)
        engine.warm_up()
        limit = memory_limit(settings, policy)
        metrics.memory_limit(limit)
        connection_limits = ConnectionLimits(settings.read_seconds, settings.connections, metrics.slow)
        app = make_app(ServerState(config.name, engine, metrics, settings, token))
        port = listener.getsockname()[1]
        for line in _startup_messages(config, engine, port=port, memory_limit=limit, has_token=token is not None):
            announce(line)
        serve_until_stopped(
            uvicorn.Config(
                app,
                log_level="error",
                access_log=False,
                lifespan="on",
                server_header=False,
                ws="none",
                http=connection_limits.protocol(),
                backlog=BACKLOG,
            ),
            listener,
            settings.grace_seconds,
            on_stop=engine.stop,
            abandon=engine.abandon,
        )


def load(config: Config) -> tuple[Predictor, Predictor | None]:
    """The run's policy, and its reference if it has one.

    Raises:
        UserError: there is no policy, a file is damaged, or the two do not match.
    """
    folder = RunFolder(config)
    limits = (config.serve.max_pixels, config.serve.max_megabytes)
    policy = Predictor.load(folder.require("ppo", "model.safetensors"), config.runtime, *limits)
    path = folder.path / REFERENCE
    if not path.is_file():
        return policy, None
    reference = Predictor.load(path, config.runtime, *limits)
    if (reference.classes, reference.header.transform) != (policy.classes, policy.header.transform):
        raise UserError(
            f"{path}: has other classes or another image size than the policy; run `make ppo` again, or move the "
            "reference away to serve the policy alone"
        )
    return policy, reference


def read_token() -> str | None:
    """The bearer token that requests need, from the environment; None if there is none.

    Raises:
        UserError: it is too short, or has other characters than printable ASCII without spaces.
    """
    token = os.environ.get(TOKEN_VARIABLE) or None
    if token is not None and (
        len(token) < MIN_TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token
    ):
        raise UserError(
            f"{TOKEN_VARIABLE}: a token has at least {MIN_TOKEN_LENGTH} printable ASCII characters and no spaces; "
            "create one with python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token


def memory_limit(settings: ServeConfig, policy: Predictor) -> int:
    """Upper bound on the resident memory of this process and its decoding processes, in bytes, for any requests.

    The sum of this process's peak so far (call it after `warm_up`), waiting bodies (twice, since the files of a form are
    copied), pixels waiting to be computed, connection buffers, and the decoding processes' limits.
    """
    prepared = settings.queue * 3 * policy.header.size**2
    bodies = 2 * settings.waiting_megabytes * 2**20
    more = prepared + bodies + settings.connections * CONNECTION_BYTES
    limits = Limits(settings.max_pixels, settings.decode_seconds)
    decoding = (settings.workers + 1) * limits.process_memory(settings.max_megabytes * 2**20)
    return int(peak_memory_mb() * 2**20 + ALLOCATOR_SLACK * more + decoding)


def _startup_messages(
    config: Config, engine: Engine, *, port: int, memory_limit: int, has_token: bool
) -> Iterator[str]:
    settings = config.serve
    shown = reachable_name(settings.host)
    reference = "with the reference" if engine.reference else "without a reference"
    yield f"  {click.style(f'http://{shown}:{port}/', bold=True)}"
    yield f"  {config.name}: {len(engine.policy.classes)} classes, {reference}; memory stays below {memory_limit >> 20} MiB"
    if settings.host in ALL_INTERFACES:
        yield f"  If this does not open, add the name by which others reach this machine to serve.allowed_hosts ({shown})"
    if not has_token and settings.host not in ("127.0.0.1", "::1", "localhost"):
        yield f"  Anyone who reaches this address can use it: set {TOKEN_VARIABLE} to require a bearer token"
    yield f"Ctrl-C stops within {settings.grace_seconds:g} s; accepted requests are answered."
