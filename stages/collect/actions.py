"""Actions of every question (skip, undo, ...), their texts, and the help on keys, for the page and the window."""

from __future__ import annotations

from pipeline.config.judging_keys import KeysConfig
from pipeline.kinds import JudgmentKind, KeyHelp, ScreenSettings

COMMON_ACTIONS = ("skip", "cant_tell", "bad_image", "undo", "zoom", "help")
ACTION_TEXT = {
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
    """All keys with their meaning, in the order shown."""
    actions = (*kind.actions, *COMMON_ACTIONS)
    return kind.help(settings) + [KeyHelp(tuple(getattr(keys, action)), ACTION_TEXT[action]) for action in actions]
