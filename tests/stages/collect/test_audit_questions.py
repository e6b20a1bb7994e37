"""Audit questions: uniform, in their share from the beginning, about images that no other question is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.answering import give, take_back
from support.browser import CHROMIUM, until
from support.collect_server import Place
from support.judging_page import NEXT_IMAGE, asked, wait_stored

from feedback_store.audit import audit_images, is_audit
from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.records import label_choice
from feedback_store.schemas.base import Subject
from pipeline.config import parse_config
from pipeline.config.collect import CollectConfig
from pipeline.kinds import AUDIT_KIND, ScreenSettings
from pipeline.kinds.items import Item, item_of
from stages.collect.actions import key_help
from stages.collect.audit_plan import interleaved, interleaved_answers, split_pool, with_repeats

POOL = np.arange(200)


def workspace(folder: Any, seed: int = 0, images: int = 200, **collect: Any) -> Any:
    """What `split_pool` reads of a workspace."""
    config = parse_config({"images": {"source": "digits"}, "seed": seed, "collect": collect}, "test")
    ids = np.array([f"image-{number}" for number in range(images)])
    table = SimpleNamespace(ids=ids, position={image: row for row, image in enumerate(ids.tolist())})
    return SimpleNamespace(config=config, table=table, run=SimpleNamespace(open_store=lambda: CsvFeedbackStore(folder)))


def test_the_share_of_the_pool_is_reserved(tmp_path: Any) -> None:
    split = split_pool(workspace(tmp_path, audit_fraction=0.1), POOL)
    assert len(split.reserved) == 20
    assert sorted([*split.ordinary, *split.reserved]) == POOL.tolist()
    again = split_pool(workspace(tmp_path, audit_fraction=0.1), POOL)
    assert again.reserved.tolist() == split.reserved.tolist()
    more = split_pool(workspace(tmp_path, audit_fraction=0.3), POOL)
    assert more.reserved[:20].tolist() == split.reserved.tolist(), "a larger share only adds images"
    assert split.count(100, 0.1) == 10
    assert split.count(1000, 0.1) == 20, "no image is audited instead of being judged without having been reserved"
    none = split_pool(workspace(tmp_path), POOL)
    assert none.ordinary.tolist() == POOL.tolist()
    assert split_pool(workspace(tmp_path, audit_fraction=0.5), POOL[:1]).ordinary.tolist() == [0]


@pytest.mark.long
def test_every_image_is_reserved_equally_often(tmp_path: Any) -> None:
    seeds = 1000
    taken = Counter(
        row
        for seed in range(seeds)
        for row in split_pool(workspace(tmp_path, seed, 20, audit_fraction=0.5), POOL[:20]).reserved.tolist()
    )
    assert all(abs(taken[row] - seeds / 2) < 4.5 * (seeds / 4) ** 0.5 for row in range(20))


def test_images_audited_under_other_settings_are_asked_about_no_more(tmp_path: Any) -> None:
    CsvFeedbackStore(tmp_path).append([label_choice("image-3", "1", annotator="ann", source="web:audit")])
    assert 3 not in split_pool(workspace(tmp_path, audit_fraction=0), POOL).ordinary


def test_audits_have_their_share_from_the_beginning() -> None:
    others, audits = [f"o{n}" for n in range(30)], [f"a{n}" for n in range(10)]
    order = interleaved(others, audits, 0.25)
    assert sorted(order) == sorted([*others, *audits])
    for length in range(1, 41):
        assert sum(name[0] == "a" for name in order[:length]) == int(0.25 * length + 0.5)
    assert interleaved(others[:15], audits[:5], 0.25) == order[:20], "more questions are only appended"
    assert interleaved(others, [], 0.25) == others
    assert interleaved([], audits, 0.25) == audits
    assert interleaved(others, audits[:2], 0.25)[8:] == others[6:], "without images left, all others follow"


def test_the_audit_share_of_pages_is_one_of_their_images(tmp_path: Any) -> None:
    """Sixty pages of 24 are 1,440 judgments: 144 of them are audit questions, and 54 pages are left."""
    split = split_pool(workspace(tmp_path, images=2000, audit_fraction=0.1), np.arange(2000))
    assert split.divide(1440, 24, 0.1) == (54, 144)
    assert split.divide(48, 24, 0.1) == (2, 5), "few pages have some, too"
    assert split.divide(100, 1, 0.1) == (90, 10)
    order = interleaved([f"page {n}" for n in range(54)], [f"audit {n}" for n in range(144)], 0.1, 24)
    assert len(order) == 198
    for length in range(1, 199):
        audits = sum(name[0] == "a" for name in order[:length])
        assert abs(audits - 0.1 * (audits + 24 * (length - audits))) <= 3
    assert interleaved([f"page {n}" for n in range(10)], [f"audit {n}" for n in range(27)], 0.1, 24) == order[:37]


def test_stored_pages_are_not_divided_by_audits() -> None:
    def row(name: str) -> Any:
        return SimpleNamespace(id=name)

    pages = [row(f"answer-{n}:{n:024}:{place:02}") for n in range(3) for place in range(10)]
    order = [one.id for one in interleaved_answers(pages, [row(f"audit-{n:04}") for n in range(4)], 0.12)]
    assert [name for name in order if name.startswith("answer")] == [one.id for one in pages]
    places = [order.index(f"audit-{n:04}") for n in range(4)]
    assert places == [10, 21, 22, 33], "between pages, and each in its time"
    assert all(
        order[at : at + 10] == [one.id for one in pages[n * 10 : n * 10 + 10]] for n, at in enumerate((0, 11, 23))
    )


def test_a_share_of_the_audits_is_repeated() -> None:
    rows = with_repeats(range(100), 40, 0.25)
    assert len(rows) == 40
    assert Counter(Counter(rows).values()) == {2: 10, 1: 20}
    assert with_repeats(range(100), 20, 0.25) == rows[:20]
    assert with_repeats(range(100), 7, 0) == list(range(7))


def audited(where: Place, count: int) -> list[Item]:
    """Audit questions about the first images of a place, put in front of its plan."""
    items = [Item(AUDIT_KIND.name, Subject((str(image),)), audit=True) for image in where.table.ids[:count]]
    where.plan = replace(where.plan, items=[*items, *where.plan.items])
    return items


def test_an_audit_answer_of_a_person(place: Callable[..., Place]) -> None:
    where = place(count=4)
    [item] = audited(where, 1)
    desk = where.again()
    [task] = desk.take("ann", 1)
    assert task.item == item
    give(desk, "ann", task, "bee", "first")
    [row] = desk.store.per_image_judgments().to_dict("records")
    assert (row["source"], row["answer"], row["image"]) == ("web:audit", "bee", item.images[0])
    assert item_of(row) == item
    assert where.again().take("ann", 1)[0].item != item, "after a restart the question is answered"
    take_back(desk, "ann", "first")
    assert is_audit(desk.store.all_rows("per_image").iloc[1]["source"])
    assert audit_images(desk.store) == {item.images[0]}
    assert where.again().take("ann", 1)[0].item == item


def test_an_ordinary_answer_is_no_audit_answer(place: Callable[..., Place]) -> None:
    where = place("label", count=4)
    ordinary = where.plan.items[0]
    item = replace(ordinary, audit=True)
    assert item.key != ordinary.key
    desk = where.again()
    give(desk, "ann", desk.take("ann", 1)[0], "bee")
    where.plan = replace(where.plan, items=[item, *where.plan.items])
    assert where.again().take("ann", 1)[0].item == item


def test_the_page_shows_all_classes_to_an_audit_question(
    place: Callable[..., Place], desk_maker: Callable[..., Any]
) -> None:
    where = place(count=4, audit_fraction=0.2)
    audited(where, 1)
    page = desk_maker(where, ["ann"])
    first, second = page.assignments.take("ann", 2)
    shown = page.presenter.task("ann", first)
    assert [choice["answer"] for choice in shown["choices"]] == list(where.plan.classes)
    assert (shown["text"], shown["style"]) == ("Which class is this image?", "")
    assert page.presenter.task("ann", second)["style"] is None
    label = desk_maker(place("label", count=4), ["ann"])
    [same] = label.assignments.take("ann", 1)
    assert label.presenter.task("ann", same)["choices"] is None, "the session has them"


@pytest.mark.parametrize("fraction", [0.0, 0.1])
def test_help_lists_the_keys_of_audit_questions(fraction: float) -> None:
    lines = key_help(CollectConfig(audit_fraction=fraction), ScreenSettings(("ant", "bee"), 5))
    assert any(line.meaning == "the class of that number" for line in lines) == (fraction > 0)
    assert len({line.keys for line in lines}) == len(lines)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser")
def test_audit_questions_among_comparisons_in_a_browser(page: Any, place: Callable[..., Place], live: Any) -> None:
    """With more classes than buttons fit, an audit question has the search, before and after one without."""
    classes = tuple(f"kind {number:02d}" for number in range(12))
    where = place(count=2, classes=classes, audit_fraction=0.5)
    first, second = audited(where, 2)
    comparison = where.plan.items[2]
    where.plan = replace(where.plan, items=[first, comparison, second])
    server = live(where)
    page.goto(server.link("ann"))
    for number, keys in enumerate((("1", "1"), ("1",), ("/", *"kind 05", "Enter"))):
        until(page, "(n) => document.getElementById('counts').textContent.startsWith(`${n} answered`)", number)
        until(page, "() => [...document.querySelectorAll('#stage img')].some((image) => image.naturalWidth > 0)")
        assert page.locator(".search").count() == (0 if number == 1 else 1)
        shown = asked(page)["images"][0]
        for key in keys:
            page.keyboard.press(key)
        until(page, f"(src) => !document.getElementById('finished').hidden || ({NEXT_IMAGE})(src)", shown)
    wait_stored(page)
    store = server.desk.assignments.store
    assert list(store.per_image_judgments()["answer"]) == ["kind 11", "kind 05"]
    assert list(store.per_image_judgments()["source"]) == ["web:audit"] * 2
    assert list(store.comparisons()["source"]) == ["web"]
