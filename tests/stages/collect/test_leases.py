"""Leases are no judgments: whatever became of their file, collecting goes on, or says in one sentence why not."""

from __future__ import annotations

import random
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support.answering import give, rows

from feedback_store.errors import FeedbackWarning
from stages.collect.leases import Lease, Leases, LeasesError
from stages.collect.tasks import Answer
from stages.collect.web.app import make_app
from stages.collect.web.page_context import PageContext

NOW = 1000.0
KEY = "0123456789abcdef01234567"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one lease."""
    leases = Leases(tmp_path / "leases.sqlite")
    leases.grant("ann", KEY, 0, NOW + 60)
    leases.close()
    return tmp_path / "leases.sqlite"


def script(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        database = sqlite3.connect(path)
        database.executescript(";".join(statements))
        database.close()

    return change


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "no database": lambda path: path.write_bytes(b"not a database" * 100),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:6000]),
    "other columns": script("DROP TABLE leases", "CREATE TABLE leases (x, y)"),
    "no key": script(
        "DROP TABLE leases",
        "CREATE TABLE leases (annotator, item, occasion, until, state, answer)",
    ),
    "a view": script(
        "DROP TABLE leases",
        "CREATE TABLE t (x)",
        "CREATE VIEW leases AS SELECT x AS state, x AS until, x AS answer FROM t",
    ),
    "text for a time": script("UPDATE leases SET until = 'later'"),
    "an unknown state": script("UPDATE leases SET state = 'lost'"),
    "an index that lies": script(
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET rootpage = 2 WHERE name = 'by_state'",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_set_aside_and_made_anew(path: Path, damage: str) -> None:
    DAMAGE[damage](path)
    with pytest.warns(FeedbackWarning, match=r"damaged file of leases \(.*leases\.sqlite; it was set aside as") as said:
        leases = Leases(path)
    assert len(said) == 1
    assert leases.held(NOW) == []
    leases.grant("bob", KEY, 0, NOW + 60)
    leases.close()
    (aside,) = path.parent.glob("leases.sqlite.damaged-*[0-9]")
    assert aside.stat().st_size >= 1000, "for whoever wants to look"
    assert Leases(path).held(NOW) == [Lease("bob", KEY, 0, NOW + 60, "")], "and the new one is kept"


def test_an_empty_or_missing_file_is_a_beginning(path: Path) -> None:
    for change in (lambda: path.write_bytes(b""), path.unlink):
        change()
        assert Leases(path).held(NOW) == []
    assert list(path.parent.glob("*damaged*")) == []


def test_leases_of_the_previous_version_are_read(tmp_path: Path) -> None:
    script(
        "CREATE TABLE leases (annotator TEXT NOT NULL, item TEXT NOT NULL, occasion INTEGER NOT NULL, until REAL NOT NULL, "
        "state TEXT NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (annotator, item)) WITHOUT ROWID",
        "CREATE INDEX by_state ON leases (state, until)",
        f"INSERT INTO leases VALUES ('ann', '{KEY}', 1, {NOW + 60}, 'held', '')",
    )(tmp_path / "old.sqlite")
    assert Leases(tmp_path / "old.sqlite").held(NOW) == [Lease("ann", KEY, 1, NOW + 60, "")]


def test_flipped_bits_never_stop_collecting(path: Path) -> None:
    content, dice = path.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(dice.choice((1, 1, 5, 50))):
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        for file in path.parent.iterdir():
            file.unlink()
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FeedbackWarning)
            leases = Leases(path)
        with leases.exclusive():
            leases.held(NOW)
            leases.grant("bob", KEY, 0, NOW)
            assert leases.of("bob", KEY) == Lease("bob", KEY, 0, NOW, "")
            leases.skipped("ann")
            leases.answered_by("answer")
        leases.close()


def test_a_file_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "leases.sqlite").mkdir()
    with pytest.raises(
        LeasesError, match=r"the leases cannot be read or written \(unable to open database file\): .*leases\.sqlite; "
    ):
        Leases(tmp_path / "leases.sqlite")


class FullDisk:
    """A database whose disk is full from the `after`th change on."""

    def __init__(self, database: sqlite3.Connection, failing: str) -> None:
        self._database, self._failing = database, failing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def execute(self, statement: str, *values: Any) -> Any:
        if statement.startswith(self._failing):
            raise sqlite3.OperationalError("database or disk is full")
        return self._database.execute(statement, *values)


@pytest.mark.parametrize("failing", ["BEGIN", "SELECT", "INSERT", "COMMIT"])
def test_a_full_disk_is_one_sentence_and_the_answers_stay_in_the_page(
    place: Any, desk_maker: Callable[..., PageContext], caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    desk = desk_maker(place(count=4), ["ann"])
    host = "http://127.0.0.1:8765"
    client = TestClient(make_app(desk), base_url=host, headers={"Origin": host}, follow_redirects=False)
    home = client.get(desk.links.annotators[0].enter).headers["location"]
    (task,) = client.post(home + "next", json={"wanted": 1}).json()["tasks"]
    leases = desk.assignments.leases
    good = leases._db
    leases._db = FullDisk(good, failing)  # type: ignore[assignment]
    sent = {"answers": [{"id": "answer-1", "item": task["key"], "answer": "a"}]}
    requests = {"next": {"wanted": 2}, "answers": sent}
    requests |= (
        {"skip": {"items": [task["key"]]}, "release": {"items": [task["key"]]}}
        if failing in ("BEGIN", "COMMIT")
        else {}
    )
    for address, body in requests.items():
        refused = client.post(home + address, json=body)
        assert refused.status_code == 507, (address, refused.text)
        assert "stored" not in refused.json()
    assert "database or disk is full" in caplog.text
    leases._db = good
    assert client.post(home + "answers", json=sent).json()["stored"] == ["answer-1"]
    assert len(desk.assignments.store.comparisons()) == 1


def test_a_really_full_disk(place: Any) -> None:
    """SQLite's own error, by its own limit of pages; afterwards there is room again."""
    desk = place(count=50).again()
    (pages,) = desk.leases._db.execute("PRAGMA page_count").fetchone()
    desk.leases._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LeasesError, match="database or disk is full"):
        desk.take("a name of a kilobyte " * 50, 20)
    desk.leases._db.execute("PRAGMA max_page_count = 100000")
    assert len(desk.take("ann", 50)) == 50, "nothing of what was refused was granted"


def test_an_answer_is_kept_without_its_lease(place: Any) -> None:
    """Counted where there is room, as with an expired lease."""
    where = place(count=3)
    task = where.again().take("ann", 1)[0]
    for file in where.folder.glob("leases.sqlite*"):
        file.unlink()
    desk = where.again()
    kept = give(desk, "ann", task, "b", "waited-1")
    assert ([judgment.id for judgment in kept.judgments], kept.refused) == (["waited-1"], [])
    assert [(row["choice"], row["shown_first"]) for row in rows(desk)] == [("b", task.shown_first)]
    assert give(desk, "ann", task, "b", "waited-1").known == ["waited-1"]
    assert task.item.key not in {one.item.key for one in desk.take("bob", 3)}


def test_a_second_answer_without_a_lease_is_late(place: Any) -> None:
    where = place(count=3)
    task = where.again().take("ann", 1)[0]
    give(where.again(), "ann", task, "a", "answer-1")
    for file in where.folder.glob("leases.sqlite*"):
        file.unlink()
    desk = where.again()
    second = give(desk, "ann", task, "b", "answer-2")
    assert [(one.id, one.late) for one in second.refused] == [("answer-2", True)]
    assert [row["id"] for row in rows(desk)] == ["answer-1"]
    assert list(desk.store.late.comparisons()["id"]) == ["answer-2"]


def test_an_answer_whose_place_was_taken_is_late(place: Any) -> None:
    where = place(count=1)
    task = where.again().take("ann", 1)[0]
    for file in where.folder.glob("leases.sqlite*"):
        file.unlink()
    desk = where.again()
    held = desk.take("bob", 1)[0]
    assert give(desk, "ann", task, "b", "answer-1").refused[0].late, "bob holds it"
    give(desk, "bob", held, "a", "answer-2")
    assert give(desk, "ann", task, "b", "answer-3").refused[0].late, "bob has answered it"
    assert [row["id"] for row in rows(desk)] == ["answer-2"]
    assert list(desk.store.late.comparisons()["id"]) == ["answer-1", "answer-3"]


def test_only_a_question_that_is_not_in_the_plan_is_unknown(place: Any) -> None:
    desk = place(count=3).again()
    (refused,) = desk.check("ann", [Answer("answer-1", KEY, "a")]).refused
    assert (refused.reason, refused.late) == ("unknown question", False)


def test_an_undo_without_leases_gives_the_question_back(place: Any) -> None:
    where = place(count=3)
    task = where.again().take("ann", 1)[0]
    for file in where.folder.glob("leases.sqlite*"):
        file.unlink()
    desk = where.again()
    sent = [
        Answer("answer-1", task.item.key, "a"),
        Answer("answer-2", retracts="answer-1"),
        Answer("answer-3", task.item.key, "b"),
    ]
    accepted = desk.check("ann", sent)
    desk.commit(accepted.judgments, accepted.late)
    assert (accepted.refused, accepted.late) == ([], [])
    assert [(row["id"], row["choice"]) for row in rows(desk)] == [("answer-3", "b")]
