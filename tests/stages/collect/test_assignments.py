"""Nobody is asked what is not theirs, nothing is asked too often, and no answer is lost or counted twice."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback_store.errors import FeedbackError
from feedback_store.store import FeedbackStore
from stages.collect.assignments import Assignments
from stages.collect.tasks import Accepted, Answer, Task


def give(desk: Assignments, who: str, task: Task, what: str = "a", judgment: str = "") -> Accepted:
    accepted = desk.check(who, [Answer(judgment or uuid4().hex, task.item.key, what, 500)])
    desk.commit(accepted.judgments, accepted.late)
    return accepted


def take_back(desk: Assignments, who: str, judgment: str) -> Accepted:
    accepted = desk.check(who, [Answer(uuid4().hex, retracts=judgment)])
    desk.commit(accepted.judgments)
    return accepted


def rows(desk: Assignments) -> list[dict[str, str]]:
    return desk.store.comparisons().to_dict("records")  # type: ignore[return-value]


def test_two_people_share_the_items(place) -> None:
    desk = place(count=10).again()
    ann, bob = desk.take("ann", 4), desk.take("bob", 20)
    assert len(ann) == 4
    assert len(bob) == 6
    assert not {t.item.key for t in ann} & {t.item.key for t in bob}
    assert desk.take("ann", 5, [t.item.key for t in ann]) == []


def test_a_reload_brings_back_what_one_holds(place) -> None:
    desk = place(count=10).again()
    held = desk.take("ann", 3)
    assert desk.take("ann", 3) == held
    assert desk.take("ann", 5)[:3] == held


def test_an_answered_item_is_done_and_stored_as_shown(place) -> None:
    desk = place(count=5).again()
    task = desk.take("ann", 1)[0]
    give(desk, "ann", task, "b", "first-answer")
    row = rows(desk)[0]
    assert (row["id"], row["choice"], row["annotator"], row["source"]) == ("first-answer", "b", "ann", "web")
    assert (row["image_a"], row["label_a"]) == (task.item.image_a, task.item.label_a)
    assert row["shown_first"] == task.shown_first
    assert task.item.key not in {t.item.key for t in desk.take("ann", 10) + desk.take("bob", 10)}
    assert desk.progress("ann").mine == 1
    assert (desk.progress("bob").done, desk.progress("bob").total) == (1, 5)


def test_sides_are_shuffled(place) -> None:
    desk = place(count=50).again()
    shown = Counter(task.shown_first for task in desk.take("ann", 50))
    assert min(shown["a"], shown["b"]) > 12


def test_sending_twice_stores_once(place) -> None:
    desk = place().again()
    task = desk.take("ann", 1)[0]
    give(desk, "ann", task, "a", "twice-sent")
    assert give(desk, "ann", task, "a", "twice-sent").known == ["twice-sent"]
    assert len(rows(desk)) == 1
    assert desk.check("bob", [Answer("twice-sent", task.item.key, "b")]).refused[0].reason.startswith("somebody else's")


def test_one_question_has_one_answer_a_person(place) -> None:
    """Two windows of one person: the second answer is refused, before and after the first is on disk."""
    desk = place().again()
    task = desk.take("ann", 1)[0]
    first = desk.check("ann", [Answer("answer-1", task.item.key, "a")])
    assert desk.check("ann", [Answer("answer-2", task.item.key, "b")]).refused
    desk.commit(first.judgments)
    assert desk.check("ann", [Answer("answer-3", task.item.key, "b")]).refused
    assert len(rows(desk)) == 1


def test_an_item_that_was_never_given_is_refused(place) -> None:
    desk = place().again()
    task = desk.take("ann", 1)[0]
    assert desk.check("bob", [Answer("answer-1", task.item.key, "a")]).refused
    assert desk.check("ann", [Answer("answer-2", "0" * 24, "a")]).refused
    assert desk.check("ann", [Answer("answer-3", task.item.key, "left")]).refused[0].reason.endswith("to this question")
    assert not rows(desk)


def test_undo_gives_the_question_back(place) -> None:
    desk = place(count=3).again()
    task = desk.take("ann", 1)[0]
    give(desk, "ann", task, "a", "answer-1")
    take_back(desk, "ann", "answer-1")
    assert rows(desk) == []
    assert task.item.key not in {t.item.key for t in desk.take("bob", 3)}, "it is ann's again"
    assert desk.take("ann", 1)[0] == task
    give(desk, "ann", task, "b")
    assert [row["choice"] for row in rows(desk)] == ["b"]
    assert len(desk.store.all_comparisons()) == 3
    with_retraction = desk.store.all_comparisons()
    assert with_retraction["retracts"].iloc[1] == "answer-1"


def test_answer_and_undo_in_one_message(place) -> None:
    desk = place(count=3).again()
    task = desk.take("ann", 1)[0]
    sent = [
        Answer("answer-1", task.item.key, "a"),
        Answer("answer-2", retracts="answer-1"),
        Answer("answer-3", task.item.key, "b"),
    ]
    accepted = desk.check("ann", sent)
    assert not accepted.refused
    desk.commit(accepted.judgments)
    assert [(row["id"], row["choice"]) for row in rows(desk)] == [("answer-3", "b")]


def test_only_ones_own_answers_can_be_taken_back(place) -> None:
    desk = place().again()
    give(desk, "ann", desk.take("ann", 1)[0], "a", "answer-1")
    assert desk.check("bob", [Answer("answer-2", retracts="answer-1")]).refused
    assert desk.check("ann", [Answer("answer-3", retracts="nothing-there")]).refused


def test_leases_expire_and_a_late_answer_is_kept_aside(place) -> None:
    where = place(count=1, lease_minutes=10)
    desk = where.again()
    task = desk.take("ann", 1)[0]
    assert desk.take("bob", 1) == []
    assert desk.waiting_until("bob") == where.clock.now + 600
    where.clock.now += 599
    assert desk.take("bob", 1) == []
    where.clock.now += 2
    assert desk.take("bob", 1)[0].item == task.item
    late = give(desk, "ann", task, "a", "late-answer")
    assert late.refused[0].late
    assert rows(desk) == []
    assert list(desk.late.comparisons()["id"]) == ["late-answer"], "nothing a person judged is lost"
    give(desk, "bob", desk.take("bob", 1)[0], "b")
    assert [row["annotator"] for row in rows(desk)] == ["bob"]
    assert desk.waiting_until("ann") is None


def test_an_expired_lease_still_counts_if_nobody_took_the_item(place) -> None:
    where = place(count=1, lease_minutes=10)
    desk = where.again()
    task = desk.take("ann", 1)[0]
    where.clock.now += 6000
    assert not give(desk, "ann", task).refused
    assert len(rows(desk)) == 1


def test_skipped_items_come_back_last(place) -> None:
    desk = place(count=3).again()
    first = desk.take("ann", 1)[0]
    desk.skip("ann", first.item.key)
    seen = []
    for _ in range(3):
        task = desk.take("ann", 1)[0]
        seen.append(task.item.key)
        give(desk, "ann", task)
    assert seen[-1] == first.item.key
    assert len(set(seen)) == 3
    assert desk.take("ann", 1) == []
    assert desk.waiting_until("ann") is None


def test_released_items_are_free_at_once(place) -> None:
    desk = place(count=2).again()
    held = desk.take("ann", 2)
    desk.release("ann", [held[0].item.key])
    assert [t.item for t in desk.take("bob", 2)] == [held[0].item]


def test_several_judgments_an_item(place) -> None:
    desk = place(count=4, judgments_per_item=2).again()
    for who in ("ann", "bob"):
        tasks = desk.take(who, 10)
        assert len(tasks) == 4
        for task in tasks:
            give(desk, who, task)
    assert desk.take("cleo", 10) == []
    assert Counter(row["annotator"] for row in rows(desk)) == {"ann": 4, "bob": 4}
    assert desk.progress("ann").done == desk.progress("ann").total == 8


def test_repetitions_are_of_ones_own_answers_and_cost_nobody_else(place) -> None:
    desk = place(count=50, repeat_fraction=0.2).again()
    asked: Counter[str] = Counter()
    while tasks := desk.take("ann", 1):
        asked[tasks[0].item.key] += 1
        assert tasks[0].occasion == asked[tasks[0].item.key] - 1
        give(desk, "ann", tasks[0])
    repeated = sum(count == 2 for count in asked.values())
    assert max(asked.values()) == 2
    assert 8 <= repeated <= 13, "a fifth of all questions"
    assert len(asked) == 50
    assert desk.progress("ann").done == 50, "a repetition answers no further item"


def test_a_repetition_can_be_taken_back_alone(place) -> None:
    desk = place(count=30, repeat_fraction=0.3).again()
    while (task := desk.take("ann", 1)[0]).occasion == 0:
        give(desk, "ann", task)
    give(desk, "ann", task, "b", "repeated-one")
    before = len(rows(desk))
    take_back(desk, "ann", "repeated-one")
    assert len(rows(desk)) == before - 1
    assert desk.take("ann", 1)[0] == task
    assert not give(desk, "ann", task, "a").refused


def test_a_repetition_does_not_keep_an_item_from_others(place) -> None:
    desk = place(count=30, judgments_per_item=2, repeat_fraction=0.3).again()
    while (task := desk.take("ann", 1)[0]).occasion == 0:
        give(desk, "ann", task)
    assert task.item.key in {t.item.key for t in desk.take("bob", 30)}, "ann holds it for her second answer only"


def test_gold_items_are_asked_of_everybody(place) -> None:
    where = place(count=20, gold=5, gold_fraction=0.25)
    desk = where.again()
    for who in ("ann", "bob"):
        answered = []
        for _ in range(12):
            task = desk.take(who, 1)[0]
            answered.append(task.item.gold)
            give(desk, who, task)
        assert 2 <= sum(answered) <= 4
    assert desk.progress("ann").total == 20


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
        patch.setattr("feedback_store.csv_log._write_all", full)
        with pytest.raises(FeedbackError, match="No space left"):
            give(desk, "ann", tasks[1], "b", "again-later")
    assert len(rows(desk)) == 1
    assert not give(desk, "ann", tasks[1], "b", another_id).refused
    assert len(rows(desk)) == 2


steps = st.lists(
    st.tuples(st.sampled_from(["take", "answer", "answer", "answer", "undo", "skip", "release", "late", "restart", "resend"]), st.sampled_from("xyz")),
    max_size=60,
)  # fmt: skip


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
    desk = place().again()
    assert desk.late.folder == desk.store.folder / "late"
    assert isinstance(desk.late, FeedbackStore)
    assert Path(desk.late.folder).name == "late"
