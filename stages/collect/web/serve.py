"""Start the page's server, say where it is, and stop it in good order."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager

import click
import uvicorn

from feedback_store.store import FeedbackStore
from pipeline.config_collect import ServerConfig
from pipeline.errors import UserError
from pipeline.gold import folder_labels
from pipeline.workspace import Workspace
from stages.collect.assignments import Assignments
from stages.collect.leases import Leases
from stages.collect.people import annotators_of
from stages.collect.plan import plan
from stages.collect.renditions import Renditions
from stages.collect.web.app import Desk, make_app
from stages.collect.web.links import Links
from stages.collect.web.overview import Overview
from stages.collect.web.present import Presenter

LOCAL = {"localhost", "127.0.0.1", "::1"}


def ask(ws: Workspace, store: FeedbackStore) -> int:
    """Serve the page until Ctrl-C or SIGTERM; returns how many answers came in meanwhile.

    Raises:
        UserError: the address cannot be listened on, or a TLS file cannot be read.
    """
    settings = ws.config.collect
    folder = ws.run.path / "collect"
    leases = Leases(folder / "leases.sqlite")
    assignments = Assignments(plan(ws), store, leases, settings, ws.config.seed, "web")
    links = Links(folder / "links.json", annotators_of(settings))
    gold = folder_labels(ws.table, ws.classes).by_image(ws.table.ids)
    desk = Desk(
        assignments, links, Presenter(assignments, links, ws.table, ws.classes, ws.log_reference),
        Renditions(ws.table, ws.config.images.max_pixels), Overview(store, gold),
        LOCAL | {settings.server.host} | set(settings.server.allowed_hosts), settings.server.tls_key is not None,
    )  # fmt: skip
    before = len(assignments.ledger.owner)
    with _listening(settings.server) as listener:
        _announce(settings.server, links, listener.getsockname()[1])
        _serve(desk, settings.server, listener)
    assignments.catch_up()
    leases.close()
    return len(assignments.ledger.owner) - before


@contextmanager
def _listening(server: ServerConfig) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((server.host, server.port))
        listener.listen(1024)  # before the links are printed, so that whoever is quick waits instead of being refused
    except OSError as error:
        listener.close()
        raise UserError(
            f"collect.server: cannot listen on {server.host}, port {server.port} ({error.strerror}); is the page open "
            "already? Set collect.server.port to another, or to 0 for any free one"
        ) from error
    with listener:
        yield listener


def _announce(server: ServerConfig, links: Links, port: int) -> None:
    """Print a link each, and open the first."""
    host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host
    shown = socket.gethostname() if server.host in ("0.0.0.0", "::") else host
    base = f"{'https' if server.tls_key else 'http'}://{{}}:{port}"
    width = max(len(link.name) for link in links.annotators) + 2
    for link in links.annotators:
        click.echo(f"  {link.name:{width}}{click.style(base.format(shown) + link.enter, bold=True)}")
    click.echo(f"  {'(owner)':{max(width, 9)}}{base.format(shown) + links.owner.enter}")
    if shown != host:
        click.echo(
            f"  If these do not open, name this machine as others know it in collect.server.allowed_hosts ({shown})"
        )
    if os.environ.get("SSH_CONNECTION") and server.host in LOCAL:
        click.echo(f"  From your own machine, first: ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}")
    click.echo("Every answer is saved as it is given. Ctrl-C ends; `make collect` goes on where you stopped.")
    if server.open_browser and _has_screen():
        first = links.annotators[0] if len(links.annotators) == 1 else links.owner
        webbrowser.open(base.format(host) + first.enter)


def _has_screen() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _serve(desk: Desk, server: ServerConfig, listener: socket.socket) -> None:
    """Run until a signal. The server has a thread of its own, so that the signals are ours and stopping is orderly."""
    try:
        uvicorn_config = uvicorn.Config(
            make_app(desk), log_level="warning", access_log=False, timeout_graceful_shutdown=5, lifespan="on",
            ssl_certfile=server.tls_certificate, ssl_keyfile=server.tls_key, server_header=False,
        )  # fmt: skip
        uvicorn_config.load()
    except OSError as error:
        raise UserError(
            f"collect.server.tls_certificate, tls_key: {error.strerror or error}; both must be PEM files"
        ) from error
    running = uvicorn.Server(uvicorn_config)
    stop = threading.Event()

    def work() -> None:
        try:
            running.run(sockets=[listener])
        finally:
            stop.set()

    thread = threading.Thread(target=work, name="server")
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    thread.start()
    try:
        while not stop.wait(0.5):
            pass
    finally:
        running.should_exit = True
        thread.join()
        for number, handler in previous.items():
            signal.signal(number, handler)
