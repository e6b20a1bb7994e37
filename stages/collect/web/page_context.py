"""The objects that the page's routes use."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.kinds.page_items import Renditions
from stages.collect.assignments import Assignments
from stages.collect.web.live_routes import LiveStatus
from stages.collect.web.owner_overview import Overview
from stages.collect.web.personal_links import Links
from stages.collect.web.task_json import Presenter


@dataclass
class PageContext:
    """One collection and its page.

    Attributes:
        renditions: images of the items; None if they have none.
        hosts: accepted Host headers.
        secure: whether the page is served by https.
        read_seconds: time limit for a request's body.
        live: what live collection has achieved; None without it.
    """

    assignments: Assignments
    links: Links
    presenter: Presenter
    renditions: Renditions | None
    overview: Overview
    hosts: frozenset[str]
    secure: bool = False
    read_seconds: float = 20.0
    live: LiveStatus | None = None
