"""The page of predictions, driven by tests in a browser."""

from __future__ import annotations

import base64
import re
from typing import Any

from support.browser import until

SENT = """([type, files]) => {
    const data = new DataTransfer();
    for (const [name, content] of files) {
        data.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name));
    }
    const target = document.getElementById("drop");
    if (type === "paste") dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
    else for (const one of ["dragenter", "dragover", "drop"]) {
        target.dispatchEvent(new DragEvent(one, { dataTransfer: data, bubbles: true, cancelable: true }));
    }
}"""


READ = """() => [...document.querySelectorAll(".card")].map((card) => ({
    name: card.querySelector("h2").textContent,
    verdict: card.querySelector(".verdict").textContent,
    busy: card.getAttribute("aria-busy"),
    rows: [...card.querySelectorAll("tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent)),
    widths: [...card.querySelectorAll(".fill")].map((fill) => parseFloat(fill.style.width)),
    columns: [...card.querySelectorAll("thead th")].map((cell) => cell.textContent),
}))"""


def bring(page: Any, files: dict[str, bytes], how: str = "drop") -> None:
    """Drop or paste files, as the browser would hand them to the page."""
    page.evaluate(SENT, [how, [[name, base64.b64encode(data).decode()] for name, data in files.items()]])


def read(page: Any, cards: int) -> list[dict[str, Any]]:
    """What is on the cards once all of them have their answer."""
    until(
        page,
        "(count) => { const all = [...document.querySelectorAll('.card')];"
        " return all.length === count && all.every((one) => one.getAttribute('aria-busy') === 'false'); }",
        cards,
    )
    return page.evaluate(READ)


def opened(page: Any, server: Any) -> None:
    page.goto(server.address)
    page.wait_for_selector("#drop")


def percent(text: str) -> float:
    return float(re.sub(r"[<>%\s]", "", text)) / 100
