"""What can be done about any question by key or button, and what each action means, for the page and the window."""

from __future__ import annotations

from pipeline.config.keyboard import KeysConfig
from pipeline.kinds import JudgmentKind, KeyHelp, ScreenSettings

ALWAYS = ("skip", "cant_tell", "bad_image", "undo", "zoom", "help")
MEANING = {
    "first": "left is better",
    "second": "right is better",
    "tie": "equally good",
    "yes": "yes",
    "no": "no",
    "skip": "skip for now",
    "cant_tell": "can't tell",
    "bad_image": "bad image",
    "undo": "undo",
    "zoom": "zoom",
    "help": "help",
}


def key_help(kind: JudgmentKind, keys: KeysConfig, settings: ScreenSettings) -> list[KeyHelp]:
    """Every key that does something, with its meaning, in the order shown."""
    actions = (*kind.actions, *ALWAYS)
    return kind.help(settings) + [KeyHelp(tuple(getattr(keys, action)), MEANING[action]) for action in actions]
