"""A collection without networks: images, a plan, and assignments on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.collect_server import Live, Place, desk_for, draw_pictures, make_place
from support.collect_site import Site
from support.postgres import migrated_postgres

from benchmarks.postgres_process import PostgresProcess
from pipeline.ui.web.connections import ConnectionLimits
from stages.collect.web.page_context import PageContext


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresProcess]:
    """A PostgreSQL server with the tables."""
    yield from migrated_postgres()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Sixty pictures, each another."""
    return draw_pictures(tmp_path)


@pytest.fixture
def place(tmp_path: Path, pictures: Path) -> Iterator[Callable[..., Place]]:
    made: list[Place] = []

    def make(*arguments: Any, **settings: Any) -> Place:
        made.append(make_place(tmp_path, pictures, *arguments, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def live(place: Callable[..., Place]) -> Iterator[Callable[..., Live]]:
    started: list[Live] = []

    def make(where: Place, *annotators: str, seconds: float = 20.0, most: int = 1024) -> Live:
        started.append(Live(where, list(annotators or ("ann",)), ConnectionLimits(seconds, most)))
        return started[-1]

    yield make
    for server in started:
        server.stop()


@pytest.fixture
def desk_maker(place: Callable[..., Place]) -> Iterator[Callable[..., PageContext]]:
    made: list[PageContext] = []

    def make(where: Place, annotators: list[str]) -> PageContext:
        made.append(desk_for(where, annotators))
        return made[-1]

    yield make
    for desk in made:
        desk.renditions.close()


@pytest.fixture
def site(place: Callable[..., Place], desk_maker: Callable[..., PageContext]) -> Site:
    """Twenty questions for ann and bob."""
    return Site(desk_maker(place(count=20), ["ann", "bob"]))
