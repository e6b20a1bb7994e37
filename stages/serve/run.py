"""After alignment: a page and an interface that classify images with the aligned policy."""

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
from pipeline.ui.web.connections import ACCEPTED_AT_ONCE, Patience
from pipeline.ui.web.listening import EVERYWHERE, allow_open_files, listening, reached_by, serve_until_stopped
from stages.serve.app import Desk, make_app
from stages.serve.engine import Engine
from stages.serve.metrics import Metrics

_log = logging.getLogger(__name__)

TOKEN = "IMAGE_RLHF_TOKEN"
MIN_TOKEN = 16
CONNECTION_BYTES = 64 * 1024  # uvicorn's buffer of a body, which is the larger part
SLACK = 1.1  # an allocator gives back late what was freed


def run(config: Config, announce: Callable[[str], object] = _log.info) -> None:
    """Serve until Ctrl-C or SIGTERM, then finish what was taken.

    Args:
        announce: is told the address and what to know about it, line by line, once the server listens.

    Raises:
        UserError: there is no policy yet, or the address cannot be listened on.
    """
    settings = config.serve
    token = token_of()
    policy, reference = load(config)
    allow_open_files()
    with listening(settings.host, settings.port, "serve") as listener:
        metrics = Metrics()
        engine = Engine(policy, reference, settings, metrics)
        engine.warm_up()
        limit = memory_limit(settings, policy)
        metrics.memory_limit(limit)
        patience = Patience(settings.read_seconds, settings.connections, metrics.slow)
        app = make_app(Desk(config.name, engine, metrics, settings, token))
        for line in _greeting(config, engine, listener.getsockname()[1], limit, token is not None):
            announce(line)
        serve_until_stopped(
            uvicorn.Config(
                app,
                log_level="error",
                access_log=False,
                lifespan="on",
                server_header=False,
                ws="none",
                http=patience.protocol(),
                backlog=ACCEPTED_AT_ONCE,
            ),
            listener,
            settings.grace_seconds,
            engine.stop,
            engine.abandon,
        )


def load(config: Config) -> tuple[Predictor, Predictor | None]:
    """The run's policy, and its reference if it has one.

    Raises:
        UserError: there is no policy, a file is damaged, or the two do not belong together.
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
            f"{path} has other classes or another image size than the policy beside it: run `make ppo` again, or move "
            "the reference away to serve the policy alone"
        )
    return policy, reference


def token_of() -> str | None:
    """The bearer token that requests need, from the environment; None if there is none.

    Raises:
        UserError: it is too short to be one.
    """
    token = os.environ.get(TOKEN) or None
    if token is not None and (len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
        raise UserError(
            f"{TOKEN}: a token has at least {MIN_TOKEN} printable ASCII characters and no spaces; "
            "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
        )
    return token


def memory_limit(settings: ServeConfig, policy: Predictor) -> int:
    """Bytes of resident memory that this process and those that decode for it stay below together, whatever is sent.

    What this one needed so far (call it once it is warm), the bodies that may wait (twice: a form's files are copied out
    of it), pixels that wait to be computed, buffers of connections, and what the decoding processes are allowed.
    """
    prepared = settings.queue * 3 * policy.header.size**2
    bodies = 2 * settings.waiting_megabytes * 2**20
    more = prepared + bodies + settings.connections * CONNECTION_BYTES
    limits = Limits(settings.max_pixels, settings.decode_seconds)
    decoding = (settings.workers + 1) * limits.process_memory(settings.max_megabytes * 2**20)
    return int(peak_memory_mb() * 2**20 + SLACK * more + decoding)


def _greeting(config: Config, engine: Engine, port: int, limit: int, locked: bool) -> Iterator[str]:
    settings = config.serve
    shown = reached_by(settings.host)
    beside = "the reference beside it" if engine.reference else "there is no reference to show beside it"
    yield f"  {click.style(f'http://{shown}:{port}/', bold=True)}"
    yield f"  {config.name}: {len(engine.policy.classes)} classes, {beside}; memory stays below {limit >> 20} MiB"
    if settings.host in EVERYWHERE:
        yield f"  If this does not open, name this machine as others know it in serve.allowed_hosts ({shown})"
    if not locked and settings.host not in ("127.0.0.1", "::1", "localhost"):
        yield f"  Whoever reaches this address may use it: set {TOKEN} to require a bearer token"
    yield f"Ctrl-C ends within {settings.grace_seconds:g} s; what was taken by then is answered."
