"""Actions of every question (skip, undo, ...), their texts, and the help on keys, for the page and the window."""

from __future__ import annotations

from pipeline.config.collect import CollectConfig
from pipeline.kinds import AUDIT_KIND, KeyHelp, ScreenSettings, kinds

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


def key_help(collect: CollectConfig, settings: ScreenSettings) -> list[KeyHelp]:
    """All keys with their meaning, in the order shown; those of audit questions too, where there are any."""
    asked = [kinds.get(collect.question), *([AUDIT_KIND] if collect.audit_fraction else [])]
    distinct = dict.fromkeys(asked)
    lines = [line for kind in distinct for line in kind.help(settings)]
    actions = dict.fromkeys((*(action for kind in distinct for action in kind.actions), *COMMON_ACTIONS))
    return lines + [KeyHelp(tuple(getattr(collect.keys, action)), ACTION_TEXT[action]) for action in actions]
