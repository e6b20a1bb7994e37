"""What the page's routes work with."""

from __future__ import annotations

from dataclasses import dataclass

from stages.collect.assignments import Assignments
from stages.collect.image_renditions import Renditions
from stages.collect.web.owner_overview import Overview
from stages.collect.web.personal_links import Links
from stages.collect.web.task_json import Presenter


@dataclass
class Desk:
    """One collection behind its page.

    Attributes:
        hosts: accepted Host headers.
        secure: whether the page is reached by https alone.
        read_seconds: how long a request's body may take.
    """

    assignments: Assignments
    links: Links
    presenter: Presenter
    renditions: Renditions
    overview: Overview
    hosts: frozenset[str]
    secure: bool = False
    read_seconds: float = 20.0
