"""What is on the judging page, read by tests in a browser."""

from __future__ import annotations

from typing import Any

from support.browser import until

NEXT_IMAGE = "(src) => document.querySelector('#stage img')?.getAttribute('src') !== src"


def asked(page: Any) -> dict[str, Any]:
    """What is on the screen: the question, the pictures, and the answer that each button stands for."""
    return page.evaluate(
        """() => ({
            text: document.getElementById('question').textContent,
            images: [...document.querySelectorAll('#stage img')].map((image) => image.getAttribute('src')),
            shown: [...document.querySelectorAll('#stage img')].every((image) => image.complete && image.naturalWidth > 0),
            answers: [...document.querySelectorAll('#choices button, #stage button')].map((button) => button.dataset.answer),
            finished: !document.getElementById('finished').hidden,
        })"""
    )


def wait_stored(page: Any) -> None:
    until(
        page, "() => Object.keys(localStorage).filter(k => k.startsWith('outbox')).every(k => localStorage[k] === '[]')"
    )
