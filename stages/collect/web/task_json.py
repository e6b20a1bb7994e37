"""Tasks and settings as JSON for the page, which shows all names as text, never as markup."""

from __future__ import annotations

import hmac
import re
from typing import Any

from pipeline.kinds import Choice, Screen, kinds
from pipeline.kinds.page_items import PageItems
from pipeline.run import next_command
from stages.collect.actions import action_text, common_actions, key_help
from stages.collect.assignments import Assignments
from stages.collect.tasks import Task
from stages.collect.web.personal_links import Links

QUESTIONS_AHEAD, PAGES_AHEAD = 8, 2  # questions that the page holds and loads besides the one on the screen
TOP_CLASSES = 3  # classes of the reference's prediction that `collect.show_model` shows


class Presenter:
    """Describes questions to the page."""

    def __init__(self, assignments: Assignments, links: Links, items: PageItems) -> None:
        self._assignments, self._links, self._items = assignments, links, items
        self._settings, self._screen = assignments.settings, assignments.screen_settings
        self._kind = kinds.get(self._settings.question)

    def session(self, annotator: str) -> dict[str, Any]:
        """Data that is the same for all questions."""
        kind, keys = self._kind, self._settings.keys
        fixed = kind.choices(self._screen)
        return {
            "annotator": annotator,
            "kind": kind.name,
            "style": kind.style,
            "script": f"static/kinds/{kind.name}.js" if kind.script else None,
            "styles": [f"static/kinds/{kind.name}/{file}" for file in kind.page_files if file.endswith(".css")],
            "details": kind.page_details(self._screen),
            "ahead": PAGES_AHEAD if kind.small_images else QUESTIONS_AHEAD,
            "choices": None if fixed is None else [self._choice(choice) for choice in fixed],
            "item": kind.item_name,
            "actions": [
                {"name": name, "text": action_text(name, kind), "keys": getattr(keys, name)}
                for name in common_actions(kind)
            ],
            "help": [{"keys": line.keys, "meaning": line.meaning} for line in key_help(self._settings, self._screen)],
            "alone": len(self._links.annotators) == 1,
            "next_step": next_command.make(self._items.next_step),
            "continues": self._items.continues,
        }

    def task(self, annotator: str, task: Task) -> dict[str, Any]:
        """One question: its text, the images' URLs, and the choices."""
        screen = task.screen(self._screen)
        kind = kinds.get(task.item.kind)
        other = kind is not self._kind  # an audit question among questions of another kind has its own layout
        tile = "?tile=true" if kind.small_images else ""
        details, describe = dict(screen.details), self._items.describe
        if describe is not None:
            details["items"] = [describe(item) for item in screen.images]
        shown = screen.images if self._items.renditions is not None else ()
        return {
            "key": task.item.key,
            "text": screen.text,
            "images": [f"images/{self._name(annotator, image)}{tile}" for image in shown],
            "details": details,
            "image_choices": [self._choice(choice) for choice in screen.image_choices],
            "choices": [self._choice(choice) for choice in screen.choices]
            if other or kind.choices(self._screen) is None
            else None,
            "style": kind.style if other else None,
            "notes": self._notes(annotator, task, screen),
        }

    def _choice(self, choice: Choice) -> dict[str, Any]:
        keys = getattr(self._settings.keys, choice.action) if choice.action else []
        return {
            "answer": choice.answer,
            "text": choice.text,
            "keys": keys,
            "number": choice.number,
            "secondary": choice.secondary,
        }

    def _name(self, annotator: str, image: str) -> str:
        return self._links.image_name(annotator, self._items.numbers.number(image), image)

    def image_named(self, annotator: str, name: str) -> str | None:
        """The id of the image with this name for this annotator; None for an invalid name."""
        number = name.partition("-")[0]
        image = self._items.numbers.item(int(number, 16)) if re.fullmatch(r"[0-9a-f]{1,16}", number) else None
        if image is None:
            return None
        return image if hmac.compare_digest(self._name(annotator, image).encode(), name.encode()) else None

    def _notes(self, annotator: str, task: Task, screen: Screen) -> list[str]:
        notes = []
        if self._settings.show_others:
            counts = self._assignments.ledger.answers(task.item.key, besides=annotator)
            kind = kinds.get(task.item.kind)
            texts = ((kind.answer_text(answer, screen), count) for answer, count in counts.items())
            listed = ", ".join(f"{text} ({count})" for text, count in texts)
            notes.append(f"Others: {listed or 'no answer yet'}")
        # A page's class is the model's prediction; an audit answer that was led by the model could not measure it.
        known, classes = self._items.log_reference, self._items.plan.classes
        if self._settings.show_model and known is not None and not self._kind.small_images and not task.item.audit:
            for image in screen.images:
                share = known[self._items.numbers.number(image)].exp()
                top = share.topk(min(TOP_CLASSES, len(classes))).indices.tolist()
                notes.append("Model: " + ", ".join(f"{classes[n]} {share[n]:.0%}" for n in top))
        return notes
