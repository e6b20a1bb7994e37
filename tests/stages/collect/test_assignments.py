"""Nobody is asked what is not theirs, and nothing is asked too often."""

from __future__ import annotations

from collections import Counter

from support.answering import give, rows, take_back

from stages.collect.tasks import Answer


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
    assert (row["image_a"], row["label_a"]) == task.item.sides[0]
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
    assert len(desk.store.all_rows("pairwise")) == 3
    with_retraction = desk.store.all_rows("pairwise")
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
    assert list(desk.store.late.comparisons()["id"]) == ["late-answer"], "nothing a person judged is lost"
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
