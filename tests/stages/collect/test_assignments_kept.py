"""What outlives a restart, another process, a full disk, and anything people do: no answer is lost or counted twice."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.answering import give, rows, take_back

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError
from stages.collect.tasks import Answer, Task


def test_a_restarted_process_knows_all(place) -> None:
    where = place(count=6)
    one = where.again()
    done, held = one.take("ann", 1)[0], one.take("bob", 2)
    give(one, "ann", done, "a", "answer-1")
    two = where.again()
    assert two.take("bob", 2) == held
    assert len(two.take("cleo", 10)) == 3
    assert two.check("ann", [Answer("answer-1", done.item.key, "a")]).known == ["answer-1"]
    assert not give(two, "bob", held[0]).refused


def test_an_answer_under_way_when_the_process_died_can_be_sent_again(place) -> None:
    where = place(count=2)
    task = where.again().take("ann", 1)[0]
    where.again().check("ann", [Answer("under-way", task.item.key, "a")])
    again = give(where.again(), "ann", task, "a", "under-way")
    assert [judgment.id for judgment in again.judgments] == ["under-way"]


def test_rows_of_another_process_count(place) -> None:
    where = place(count=2)
    page, window = where.again(), where.again()
    first, second = page.take("ann", 1)[0], window.take("bob", 1)[0]
    assert first.item != second.item
    give(page, "ann", first)
    assert window.take("bob", 5, [second.item.key]) == []
    assert window.progress("bob").done == 1


def test_answers_of_a_teacher_that_stands_in_answer_no_question(place) -> None:
    where = place(count=4)
    made = [item.judgment("a", annotator="simulated-oracle", source="simulated") for item in where.plan.items]
    desk = where.again()
    desk.store.append(made)
    assert len(desk.take("ann", 10)) == 4
    assert desk.progress("ann").done == 0


@pytest.mark.parametrize("another_id", ["again-later", "pressed-again"])
def test_a_full_disk_refuses_and_changes_nothing(place, monkeypatch: pytest.MonkeyPatch, another_id: str) -> None:
    """The page sends the same answer again, the window makes a new one: both are taken once there is room."""
    desk = place(count=2).again()
    tasks = desk.take("ann", 2)
    give(desk, "ann", tasks[0])

    def full(handle: int, data: memoryview) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("feedback_store.csv_store.log._write_all", full)
        with pytest.raises(FeedbackError, match="No space left"):
            give(desk, "ann", tasks[1], "b", "again-later")
    assert len(rows(desk)) == 1
    assert not give(desk, "ann", tasks[1], "b", another_id).refused
    assert len(rows(desk)) == 2


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "answer", "answer", "answer", "undo", "skip", "release", "late", "restart", "resend"]),
        st.sampled_from("xyz"),
    ),
    max_size=60,
)


@given(steps=steps, each=st.integers(1, 2))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_people_do(place, tmp_path_factory: pytest.TempPathFactory, steps, each: int) -> None:
    """No item ever has more answers than asked, nobody answers one twice, and every acknowledged answer stands."""
    where = place(count=5, judgments_per_item=each, lease_minutes=1)
    where.folder = tmp_path_factory.mktemp("steps")
    desk = where.again()
    held: dict[str, list[Task]] = {who: [] for who in "xyz"}
    standing: dict[str, list[str]] = {who: [] for who in "xyz"}
    sent: dict[str, tuple[Task, str]] = {}
    for step, who in steps:
        where.clock.now += 5
        if step == "take":
            held[who] += desk.take(who, 2, [task.item.key for task in held[who]])
        elif step in ("answer", "late") and held[who]:
            where.clock.now += 120 if step == "late" else 0
            task, judgment = held[who].pop(0), uuid4().hex
            done = give(desk, who, task, "a", judgment)
            standing[who] += [stored.id for stored in done.judgments]
            sent[who] = (task, judgment)
        elif step == "undo" and standing[who]:
            taken = standing[who].pop()
            assert not take_back(desk, who, taken).refused
            if who in sent and sent[who][1] == taken:
                held[who].insert(0, sent[who][0])
        elif step == "skip" and held[who]:
            desk.skip(who, held[who].pop(0).item.key)
        elif step == "release":
            desk.release(who, [task.item.key for task in held[who]])
            held[who] = []
        elif step == "restart":
            desk = where.again()
        elif step == "resend" and who in sent and sent[who][1] in standing[who]:
            assert give(desk, who, sent[who][0], "a", sent[who][1]).known
        stored = rows(desk)
        assert sorted(row["id"] for row in stored) == sorted(chain.from_iterable(standing.values()))
        answered = Counter((row["image_a"], *sorted((row["label_a"], row["label_b"]))) for row in stored)
        assert max(answered.values(), default=0) <= each
        twice = Counter((row["image_a"], *sorted((row["label_a"], row["label_b"])), row["annotator"]) for row in stored)
        assert max(twice.values(), default=0) <= 1


def test_the_store_of_late_answers_is_no_part_of_the_judgments(place) -> None:
    where = place()
    desk = where.again()
    task = desk.take("ann", 1)[0]
    late = task.item.judgment("a", id="late-answer", annotator="ann", source="web")
    desk.commit([], [late])
    assert desk.store.is_empty()
    late_store = CsvFeedbackStore(where.folder / "feedback" / "late")
    assert list(late_store.comparisons()["id"]) == ["late-answer"]
