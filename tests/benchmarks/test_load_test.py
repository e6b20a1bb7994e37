"""The load test fails for what is lost, doubled or asked too often, and for no time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.postgres import migrated_postgres, new_collection

from benchmarks.load_clients import Outcome, latency
from benchmarks.load_servers import LeaseMonitor
from benchmarks.load_test import LOADS, main, verdict
from benchmarks.postgres_process import PostgresProcess
from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.records import Comparison
from stages.collect.shared_state import leases_of


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresProcess]:
    yield from migrated_postgres()


def stored(folder: Path, *answers: tuple[str, str, str]) -> CsvFeedbackStore:
    """A store with answers: id, annotator and image of each."""
    store = CsvFeedbackStore(folder / "feedback")
    store.append(
        [
            Comparison(
                id=judgment,
                annotator=who,
                image_a=image,
                label_a="x",
                image_b=image,
                label_b="y",
                choice="a",
                source="web",
            )
            for judgment, who, image in answers
        ]
    )
    return store


@pytest.mark.parametrize(
    ("acknowledged", "problem"),
    [
        (["1", "2"], ""),
        (["1", "2", "3"], "1 acknowledged answers are not in the store exactly once"),
    ],
)
def test_what_is_lost_is_said(tmp_path: Path, acknowledged: list[str], problem: str) -> None:
    store = stored(tmp_path, ("1", "ann", "image-1"), ("2", "bob", "image-1"))
    assert verdict(store, Outcome(acknowledged), each=2) == ([problem] if problem else [])


def test_what_is_asked_too_often_is_said(tmp_path: Path) -> None:
    store = stored(tmp_path, ("1", "ann", "image-1"), ("2", "ann", "image-1"), ("3", "bob", "image-1"))
    assert verdict(store, Outcome(), each=2) == [
        "1 questions have more than 2 answers",
        "1 questions were answered twice by the same person",
    ]


def test_times_are_beside_a_bare_request_and_fail_nothing() -> None:
    slow = Outcome(seconds=[3.0] * 100, bare_seconds=[2.0] * 100)
    assert latency(slow) == (
        "acknowledgement: median 3000.0 ms, 95th percentile 3000.0 ms, maximum 3000 ms; "
        "bare request: median 2000.0 ms, 95th percentile 2000.0 ms; ratio 1.5 and 1.5"
    )
    assert "no bare request succeeded" in latency(Outcome(seconds=[3.0]))
    assert "limit_ms" not in {parameter.name for parameter in main.params}


def test_an_item_that_is_leased_too_often_is_said(postgres: PostgresProcess, tmp_path: Path) -> None:
    leases = leases_of(new_collection(postgres), tmp_path)
    now = leases.clock()
    leases.grant("ann", "item", 0, now + 60)
    leases.grant("bob", "item", 0, now + 60, answer="answer-1")
    leases.done("bob", "item", "answer-1")
    leases.grant("eve", "item", 0, now - 1)
    assert watched(postgres) == [], "an expired lease does not count"
    leases.grant("eve", "item", 0, now + 60)
    assert watched(postgres) == ["an item had 3 leases and answers, and 2 are asked for"]


def watched(postgres: PostgresProcess) -> list[str]:
    """What the monitor says after two looks."""
    with LeaseMonitor(postgres, each=2) as monitor:
        while monitor.looks < 2:
            time.sleep(0.01)
    return monitor.problems()


def test_the_load_of_a_database_is_the_one_of_the_acceptance() -> None:
    load = LOADS["postgresql"]
    assert (load.annotators, load.servers, load.answers, load.kills, load.restarts) == (300, 3, 10_000, 2, 1)
