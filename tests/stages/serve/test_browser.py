"""The page in a real Chromium: images are dropped, chosen and pasted, and the answer is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.browser import CHROMIUM, shot, until
from support.predict_page import bring, opened, percent, read

from pipeline.models.policy import final_linear
from stages.serve.run import TOKEN_VARIABLE

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser"
)

SECRET = "a-token-of-enough-letters"


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_an_image_is_dropped_and_the_answer_read(page: Any, live: Any, picture: Callable[..., bytes], how: str) -> None:
    server = live()
    policy, reference = server.state.engine.policy, server.state.engine.reference
    opened(page, server)
    bring(page, {"ä photo.png": picture(3)}, how)
    (card,) = read(page, 1)
    after, before = policy.predict(picture(3)), reference.predict(picture(3))
    assert card["name"] == "ä photo.png"
    assert card["verdict"].startswith(after.label)
    assert "before alignment" in card["verdict"]
    assert card["columns"] == ["Class", "Before alignment", "After alignment"]
    assert [row[0] for row in card["rows"]] == [name for name, _ in after.top(3)]
    for name, was, now in card["rows"]:
        assert percent(was) == pytest.approx(before.probabilities[name], abs=2e-3)
        assert percent(now) == pytest.approx(after.probabilities[name], abs=2e-3)
    shown = [share for name, _ in after.top(3) for share in (before.probabilities[name], after.probabilities[name])]
    assert card["widths"] == pytest.approx([100 * share for share in shown], abs=0.1), "the bars are as long"
    assert page.evaluate("[...document.querySelectorAll('.thumbnail img')].map((one) => one.naturalWidth)") == [48]
    assert after.label in page.inner_text("#status"), "and is read aloud"


def test_a_set_with_a_bad_one_among_it(page: Any, live: Any, picture: Callable[..., bytes], tmp_path: Path) -> None:
    """Chosen with the button; the good ones are answered, the bad one says why."""
    opened(page, live(max_megabytes=1))
    files = {"one.png": picture(1), "notes.jpg": b"just text", "two.png": picture(2), "large.png": bytes(2**20 + 1)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with page.expect_file_chooser() as chooser:
        page.click("#choose")
    chooser.value.set_files([tmp_path / name for name in files])
    cards = {card["name"]: card for card in read(page, 4)}
    assert list(cards) == list(files), "in the order they came"
    assert cards["one.png"]["rows"]
    assert cards["two.png"]["rows"]
    assert cards["notes.jpg"]["verdict"].startswith("Not an image")
    assert cards["large.png"]["verdict"].startswith("1 MiB is too large: at most 1")
    until(page, "() => document.getElementById('summary').textContent === '2 classified, 2 not'")
    page.click("#clear")
    assert page.query_selector_all(".card") == []


def test_a_reference_without_an_opinion_named_no_class(page: Any, live: Any, picture: Callable[..., bytes]) -> None:
    """Its classes are equally likely: the label is not said to have changed from whichever comes first."""
    server = live()
    network = server.state.engine.reference.network
    with torch.no_grad():
        final_linear(network).weight.zero_()
        final_linear(network).bias.zero_()
    opened(page, server)
    bring(page, {"photo.png": picture(3)})
    (card,) = read(page, 1)
    assert card["verdict"].endswith("uniform before alignment")
    assert page.query_selector(".changed") is None
    shot(page, "serve-uniform")


def test_without_a_reference_there_is_one_column(page: Any, live: Any, picture: Callable[..., bytes]) -> None:
    opened(page, live(reference=False))
    bring(page, {"a.png": picture()})
    (card,) = read(page, 1)
    assert card["columns"] == ["Class", "After alignment"]
    assert "before" not in card["verdict"]


def test_of_many_classes_the_likeliest_are_shown(page: Any, live: Any, picture: Callable[..., bytes]) -> None:
    opened(page, live(classes=tuple(f"class {number}" for number in range(40))))
    bring(page, {"a.png": picture()})
    (card,) = read(page, 1)
    assert len(card["rows"]) == 11
    assert card["rows"][-1][0] == "30 others"
    for column in (1, 2):
        assert sum(percent(row[column]) for row in card["rows"]) == pytest.approx(1, abs=0.01)


def test_names_are_text(page: Any, live: Any, picture: Callable[..., bytes]) -> None:
    nasty = (
        "<img src=x onerror=document.title='broken'>",
        "a & b",
        "</script><script>document.title='broken'</script>",
    )
    opened(page, live(classes=nasty))
    bring(page, {"<b>bold</b>.png": picture()})
    (card,) = read(page, 1)
    assert {row[0] for row in card["rows"]} == set(nasty)
    assert card["name"] == "<b>bold</b>.png"
    assert page.title() == "served: classify images"


def test_the_page_asks_for_the_token(
    page: Any, live: Any, picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, SECRET)
    server = live()
    page.goto(server.address)
    page.wait_for_selector("#locked")
    assert not page.is_visible("#drop")
    assert page.evaluate("document.activeElement.id") == "token"
    shot(page, "serve-token")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    until(page, "() => document.getElementById('locked-message').textContent.includes('Wrong token')")
    page.keyboard.type(SECRET)
    page.keyboard.press("Enter")
    page.wait_for_selector("#drop")
    bring(page, {"a.png": picture()})
    assert read(page, 1)[0]["rows"]
    page.reload()
    page.wait_for_selector("#drop")
    assert SECRET not in page.url


def test_a_busy_server_is_asked_again(page: Any, live: Any, picture: Callable[..., bytes]) -> None:
    server = live()
    opened(page, server)
    server.state.engine._images = server.state.settings.queue
    bring(page, {"a.png": picture()})
    until(page, "() => document.querySelector('.verdict')?.textContent.includes('busy')")
    server.state.engine._images = 0
    assert read(page, 1)[0]["rows"]


def test_a_server_that_went_away_is_said_and_asked_again(page: Any, live: Any, picture: Callable[..., bytes]) -> None:
    server = live()
    opened(page, server)
    page.route("**/predict*", lambda route: route.abort())
    bring(page, {"a.png": picture()})
    assert read(page, 1)[0]["verdict"].startswith("The server did not answer")
    page.unroute("**/predict*")
    page.click(".card button")
    until(page, "() => document.querySelectorAll('.card tbody tr').length === 3")
