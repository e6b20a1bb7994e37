"""README.md of an exported folder: metadata for the Hugging Face hub, and the model card."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import yaml

from feedback_store.schemas import schemas

TEMPLATE = Path(__file__).with_name("README.md.jinja")


def percent(value: float | None) -> str:
    """0.123 as 12.3 %; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f} %"


def share(value: Any) -> str:
    """A proportion with its interval; a dash for None."""
    return "–" if value is None else f"{percent(value.value)} [{percent(value.low)}, {percent(value.high)}]"


def number(value: float | None, places: int = 3) -> str:
    """With so many decimals; a dash for None."""
    return "–" if value is None else f"{value:.{places}f}"


def plain(text: object) -> str:
    """A name on one line, with Markdown and HTML escaped."""
    one_line = " ".join(str(text).split())
    return re.sub(r"([\\`*_{}\[\]()#|~!])", r"\\\1", html.escape(one_line, quote=False))


def metadata(facts: dict[str, Any]) -> dict[str, Any]:
    """The front matter, with the accuracy as the hub's model index if it is known. The user chooses the licence."""
    front: dict[str, Any] = {
        "library_name": "image-rlhf",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "rlhf", "ppo", "reward-model", "pytorch", facts["backbone"]],
    }
    if facts["accuracy"]:
        dataset = {"type": "image-folder", "name": f"evaluation images of {facts['name']}"}
        value = round(facts["accuracy"]["policy"].value, 6)
        metrics = [{"type": "accuracy", "name": "accuracy", "value": value}]
        result = {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": metrics}
        front["model-index"] = [{"name": facts["name"], "results": [result]}]
    return front


def render(facts: dict[str, Any]) -> str:
    """The complete file, from the result of `model_facts.gather`."""
    environment = jinja2.Environment(
        autoescape=False,  # Markdown: names go through `plain`
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., str]] = {"percent": percent, "share": share, "number": number, "plain": plain}
    environment.filters.update(filters)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    front = yaml.safe_dump(metadata(facts), sort_keys=False, allow_unicode=True)
    return template.render(facts, front=front, question_texts={schema.name: schema.asks for schema in schemas})
