"""Start the page's server, announce its links, and stop it cleanly."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from functools import partial

import uvicorn

from feedback_store.store import FeedbackStore
from pipeline.config.server import ServerConfig
from pipeline.errors import UserError
from pipeline.kinds import kinds
from pipeline.kinds.page_items import PageItems
from pipeline.run import next_command
from pipeline.run.workspace import Workspace
from pipeline.ui.web.connections import BACKLOG, ConnectionLimits
from pipeline.ui.web.guard import LOCAL_HOSTS, accepted_hosts
from pipeline.ui.web.listening import ALL_INTERFACES, allow_open_files, listening, reachable_name, serve_until_stopped
from pipeline.ui.web.tls import tls_context
from stages.collect.annotators import annotators_of
from stages.collect.assignments import Assignments
from stages.collect.image_items import image_items
from stages.collect.shared_state import leases_of, link_secrets_of
from stages.collect.web.all_answered import AllAnswered
from stages.collect.web.app import make_app
from stages.collect.web.browser import has_screen, opened_in_browser
from stages.collect.web.live import Live
from stages.collect.web.owner_overview import Overview
from stages.collect.web.page_context import PageContext
from stages.collect.web.personal_links import Links
from stages.collect.web.task_json import Presenter

GRACE_SECONDS = 5.0  # time limit for stopping after Ctrl-C


def ask(ws: Workspace, store: FeedbackStore, announce: Callable[[str], object], training: Sequence[str] = ()) -> int:
    """Serve the page about a run's images until Ctrl-C or SIGTERM; returns the number of rows stored.

    Args:
        training: command of the training process of live collection; empty: none.
        announce, errors: as in `ask_about`.
    """
    live = partial(Live, ws, command=training) if training else None
    return ask_about(image_items(ws), store, announce, live)


def ask_about(
    items: PageItems,
    store: FeedbackStore,
    announce: Callable[[str], object],
    live: Callable[[Assignments], Live] | None = None,
) -> int:
    """Serve the page until Ctrl-C or SIGTERM, or until all is answered if the items say so.

    Args:
        announce: is called with the progress and the links, line by line, once the server listens.
        live: starts live collection.

    Returns:
        the number of rows stored.

    Raises:
        UserError: the server cannot listen on the address, or a TLS file cannot be read.
    """
    with closing(items.renditions) if items.renditions is not None else nullcontext():
        return _ask_about(items, store, announce, live)


def _ask_about(
    items: PageItems,
    store: FeedbackStore,
    announce: Callable[[str], object],
    live: Callable[[Assignments], Live] | None,
) -> int:
    settings, folder = items.settings, items.folder
    leases = leases_of(store, folder)
    assignments = Assignments(items.plan, store, leases, settings, seed=items.seed, source="web", clock=leases.clock)
    assignments.round = items.round
    training = live(assignments) if live is not None else None
    links = Links(link_secrets_of(store, folder), annotators_of(settings))
    context = PageContext(
        assignments,
        links,
        Presenter(assignments, links, items),
        items.renditions,
        Overview(store, items.gold, items.run),
        accepted_hosts(settings.server.host, settings.server.allowed_hosts),
        settings.server.tls_key is not None,
        settings.server.read_seconds,
        training.status if training else None,
    )
    before = assignments.ledger.rows
    allow_open_files()
    with listening(settings.server.host, settings.server.port, "collect.server") as listener:
        port = listener.getsockname()[1]
        announce(_progress_line(assignments, links))
        for line in _link_lines(settings.server, links, port, items.resume):
            announce(line)
        opens = settings.server.open_browser and has_screen()
        browser = opened_in_browser(_local_link(settings.server, links, port), folder) if opens else nullcontext()
        answered = AllAnswered(assignments) if items.continues else None
        with browser, training or nullcontext():
            _serve(context, settings.server, listener, answered or (lambda: False))
    assignments.catch_up()
    leases.close()
    return assignments.ledger.rows - before


def _progress_line(assignments: Assignments, links: Links) -> str:
    """The numbers of answers that are stored and asked for."""
    progress, settings = assignments.progress(links.annotators[0].name), assignments.settings
    each = (len(item.images) if kinds.get(item.kind).rows_per_question > 1 else 1 for item in assignments.plan.items)
    judgments, wanted = sum(each) * settings.judgments_per_item, settings.count  # an image of a page is a judgment
    notes = [f"{judgments} judgments"] if judgments != progress.total else []
    if wanted and judgments < wanted:
        notes.append(f"the maximum for these images; collect.count is {wanted}")
    questions = f"{progress.total} questions" + (f" ({', '.join(notes)})" if notes else "")
    if progress.done >= progress.total:
        return f"All {questions} are answered; for more raise collect.count, or add images."
    return f"{progress.done} of {questions} are answered."


def _base_url(server: ServerConfig, host: str, port: int) -> str:
    return f"{'https' if server.tls_key else 'http'}://{host}:{port}"


def _local_link(server: ServerConfig, links: Links, port: int) -> str:
    """The link to open on this machine: the only annotator's, or the owner's."""
    link = links.annotators[0] if len(links.annotators) == 1 else links.owner
    return (
        _base_url(server, "127.0.0.1" if server.host in ALL_INTERFACES else reachable_name(server.host), port)
        + link.enter
    )


def _link_lines(server: ServerConfig, links: Links, port: int, resume: str) -> Iterator[str]:
    """The personal links and notes on how to reach them."""
    host = reachable_name(server.host)
    base = _base_url(server, host, port)
    width = max(len(link.name) for link in links.annotators) + 2
    for link in links.annotators:
        yield f"  {link.name:{width}}{base}{link.enter}"
    yield f"  {'(owner)':{max(width, 9)}}{base}{links.owner.enter}  progress and agreement"
    if server.host in ALL_INTERFACES:
        yield f"  If these do not open, add this machine's name or address to collect.server.allowed_hosts ({host})"
    if os.environ.get("SSH_CONNECTION") and server.host in LOCAL_HOSTS:
        yield f"  From your own machine, first: ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}"
    yield f"Every answer is saved at once. Ctrl-C ends; `{next_command.make(resume)}` resumes."


def _serve(context: PageContext, server: ServerConfig, listener: socket.socket, finished: Callable[[], bool]) -> None:
    try:
        encryption = (
            tls_context(server.tls_certificate, server.tls_key) if server.tls_certificate and server.tls_key else None
        )
    except OSError as error:
        raise UserError(
            f"collect.server.tls_certificate, tls_key: {error.strerror or error}; set both to PEM files"
        ) from error
    patience = ConnectionLimits(server.read_seconds, server.connections, tls=encryption)
    config = uvicorn.Config(
        make_app(context),
        log_level="error",
        access_log=False,
        lifespan="on",
        ws="none",
        http=patience.protocol(),
        backlog=BACKLOG,
        server_header=False,
    )
    abandon = context.renditions.close if context.renditions is not None else (lambda: None)
    serve_until_stopped(config, listener, GRACE_SECONDS, abandon=abandon, finished=finished)
