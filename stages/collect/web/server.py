"""Start the page's server, say where it is, and stop it in good order."""

from __future__ import annotations

import os
import socket
from contextlib import nullcontext

import click
import uvicorn

from feedback_store.store import FeedbackStore
from pipeline.config.server import ServerConfig
from pipeline.data.gold_labels import folder_labels
from pipeline.errors import UserError
from pipeline.run import next_command
from pipeline.run.workspace import Workspace
from pipeline.ui.web.connections import ACCEPTED_AT_ONCE, Patience
from pipeline.ui.web.guard import LOCAL, known_hosts
from pipeline.ui.web.listening import EVERYWHERE, allow_open_files, listening, reached_by, serve_until_stopped
from pipeline.ui.web.tls import tls_context
from stages.collect.annotators import annotators_of
from stages.collect.assignments import Assignments
from stages.collect.image_renditions import Renditions
from stages.collect.leases import Leases
from stages.collect.question_plan import plan
from stages.collect.web.app import make_app
from stages.collect.web.browser import has_screen, opened_in_browser
from stages.collect.web.desk import Desk
from stages.collect.web.owner_overview import Overview
from stages.collect.web.personal_links import Links
from stages.collect.web.task_json import Presenter

GRACE_SECONDS = 5.0  # within which the server ends after Ctrl-C, whatever it is doing


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
        assignments,
        links,
        Presenter(assignments, links, ws.table, ws.classes, ws.log_reference),
        Renditions.of(ws.table, ws.config),
        Overview(store, gold),
        known_hosts(settings.server.host, settings.server.allowed_hosts),
        settings.server.tls_key is not None,
        settings.server.read_seconds,
    )
    before = len(assignments.ledger.owner)
    allow_open_files()
    with listening(settings.server.host, settings.server.port, "collect.server") as listener:
        click.echo(_standing(assignments, links))
        first = _announce(settings.server, links, listener.getsockname()[1])
        wanted = settings.server.open_browser and has_screen()
        with opened_in_browser(first, folder) if wanted else nullcontext():
            _serve(desk, settings.server, listener)
    assignments.catch_up()
    leases.close()
    return len(assignments.ledger.owner) - before


def _standing(assignments: Assignments, links: Links) -> str:
    """How many answers there are and are wanted, in a line."""
    stands = assignments.progress(links.annotators[0].name)
    wanted = assignments.settings.count
    fewer = f" (all that these images allow; collect.count is {wanted})" if wanted and stands.total < wanted else ""
    if stands.done >= stands.total:
        return f"All {stands.total} questions{fewer} are answered; for more raise collect.count, or add images."
    return f"{stands.done} of {stands.total} questions{fewer} are answered."


def _announce(server: ServerConfig, links: Links, port: int) -> str:
    """Print a link each; returns the one to open on this machine: the only annotator's, or the owner's."""
    host = "127.0.0.1" if server.host in EVERYWHERE else reached_by(server.host)
    shown = reached_by(server.host)
    base = f"{'https' if server.tls_key else 'http'}://{{}}:{port}"
    width = max(len(link.name) for link in links.annotators) + 2
    for link in links.annotators:
        click.echo(f"  {link.name:{width}}{click.style(base.format(shown) + link.enter, bold=True)}")
    click.echo(f"  {'(owner)':{max(width, 9)}}{base.format(shown) + links.owner.enter}  progress and agreement")
    if shown != host:
        click.echo(
            f"  If these do not open, name this machine as others know it in collect.server.allowed_hosts ({shown})"
        )
    if os.environ.get("SSH_CONNECTION") and server.host in LOCAL:
        click.echo(f"  From your own machine, first: ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}")
    click.echo(
        f"Every answer is saved as it is given. Ctrl-C ends; `{next_command.make('collect')}` goes on where you stopped."
    )
    first = links.annotators[0] if len(links.annotators) == 1 else links.owner
    return base.format(host) + first.enter


def _serve(desk: Desk, server: ServerConfig, listener: socket.socket) -> None:
    try:
        encryption = (
            tls_context(server.tls_certificate, server.tls_key) if server.tls_certificate and server.tls_key else None
        )
    except OSError as error:
        raise UserError(
            f"collect.server.tls_certificate, tls_key: {error.strerror or error}; both must be PEM files"
        ) from error
    patience = Patience(server.read_seconds, server.connections, tls=encryption)
    config = uvicorn.Config(
        make_app(desk),
        log_level="error",
        access_log=False,
        lifespan="on",
        ws="none",
        http=patience.protocol(),
        backlog=ACCEPTED_AT_ONCE,
        server_header=False,
    )
    serve_until_stopped(config, listener, GRACE_SECONDS, abandon=desk.renditions.close)
    desk.renditions.close()
