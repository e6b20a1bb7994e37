"""Every acknowledged id is in the store exactly once, whatever ids a page sends."""

from __future__ import annotations

from typing import Any

from support.answering import give, rows

from stages.collect.tasks import Accepted, Answer


def send(desk: Any, who: str, *answers: Answer) -> Accepted:
    accepted = desk.check(who, answers)
    desk.commit(accepted.judgments, accepted.late)
    return accepted


def acknowledged(accepted: Accepted) -> list[str]:
    return accepted.known + [judgment.id for judgment in accepted.judgments]


def test_one_id_for_two_questions_of_a_message(place: Any) -> None:
    desk = place().again()
    one, other = desk.take("ann", 2)
    sent = send(desk, "ann", Answer("same-one", one.item.key, "a"), Answer("same-one", other.item.key, "a"))
    assert acknowledged(sent) == ["same-one"]
    assert [(refused.id, refused.reason) for refused in sent.refused] == [
        ("same-one", "another answer of this request has this id")
    ]
    assert [row["id"] for row in rows(desk)] == ["same-one"]
    assert not give(desk, "ann", other, "b", "its-own").refused, "the other question is still ann's"


def test_one_id_for_two_questions_one_after_the_other(place: Any) -> None:
    desk = place().again()
    one, other = desk.take("ann", 2)
    give(desk, "ann", one, "a", "same-one")
    for answer in (
        Answer("same-one", other.item.key, "a"),
        Answer("same-one", one.item.key, "b"),
        Answer("same-one", retracts="x"),
    ):
        sent = send(desk, "ann", answer)
        assert acknowledged(sent) == []
        assert sent.refused[0].reason == "another answer of yours has this id"
    assert acknowledged(send(desk, "ann", Answer("same-one", one.item.key, "a"))) == ["same-one"], (
        "the same again is known"
    )
    assert len(rows(desk)) == 1


def test_one_id_for_two_questions_while_the_first_is_on_its_way(place: Any) -> None:
    """Two requests at the same time, of one person and of two."""
    desk = place().again()
    one, other = desk.take("ann", 2)
    (bobs,) = desk.take("bob", 1)
    first = desk.check("ann", [Answer("same-one", one.item.key, "a")])
    for who, answer in (
        ("ann", Answer("same-one", other.item.key, "a")),
        ("bob", Answer("same-one", bobs.item.key, "a")),
        ("ann", Answer("same-one", one.item.key, "a", retracts="something")),
    ):
        second = desk.check(who, [answer])
        assert (acknowledged(second), second.late) == ([], [])
        assert second.refused[0].reason == "another answer has this id"
    again = desk.check("ann", [Answer("same-one", one.item.key, "a")])
    desk.commit([*first.judgments, *again.judgments])
    assert [row["id"] for row in rows(desk)] == ["same-one"], "sent twice, and acknowledged twice, as it should be"


def test_the_same_entry_twice_in_a_message(place: Any) -> None:
    desk = place().again()
    (task,) = desk.take("ann", 1)
    sent = send(desk, "ann", *[Answer("sent-twice", task.item.key, "a")] * 2)
    assert (acknowledged(sent), sent.refused) == (["sent-twice"], [])
    assert len(rows(desk)) == 1


def test_taking_back_twice_stores_one_row(place: Any) -> None:
    desk = place().again()
    (task,) = desk.take("ann", 1)
    give(desk, "ann", task, "a", "answer-1")
    sent = send(desk, "ann", Answer("undo-1", retracts="answer-1"), Answer("undo-2", retracts="answer-1"))
    assert sorted(acknowledged(sent)) == ["undo-1", "undo-2"]
    later = send(desk, "ann", Answer("undo-3", retracts="answer-1"))
    assert (acknowledged(later), later.judgments) == (["undo-3"], [])
    assert list(desk.store.all_rows("pairwise")["id"]) == ["answer-1", "undo-1"]
    assert rows(desk) == []


def test_only_ones_own_answer_counts_as_taken_back_already(place: Any) -> None:
    desk = place().again()
    (task,) = desk.take("ann", 1)
    give(desk, "ann", task, "a", "answer-1")
    send(desk, "ann", Answer("undo-1", retracts="answer-1"))
    for who, target in (("bob", "answer-1"), ("ann", "undo-1"), ("ann", "nothing")):
        refused = send(desk, who, Answer("undo-more", retracts=target))
        assert (acknowledged(refused), refused.refused[0].reason) == (
            [],
            "you have no such answer to take back",
        )
    assert len(desk.store.all_rows("pairwise")) == 2
