"""Actions of every question (skip, undo, ...), their texts, and the help on keys, for the page and the window."""

from __future__ import annotations

from pipeline.config.collect import CollectConfig
from pipeline.kinds import AUDIT_KIND, JudgmentKind, KeyHelp, ScreenSettings, kinds

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


def common_actions(kind: JudgmentKind) -> tuple[str, ...]:
    """The actions of every question of a kind."""
    return tuple(action for action in COMMON_ACTIONS if kind.enlarges or action != "zoom")


def action_text(action: str, kind: JudgmentKind) -> str:
    """What an action is called in questions of a kind."""
    return f"bad {kind.item_name}" if action == "bad_image" else ACTION_TEXT[action]


def key_help(collect: CollectConfig, settings: ScreenSettings) -> list[KeyHelp]:
    """All keys with their meaning, in the order shown; those of audit questions too, where there are any."""
    asked = [kinds.get(collect.question), *([AUDIT_KIND] if collect.audit_fraction else [])]
    distinct = dict.fromkeys(asked)
    lines = [line for kind in distinct for line in kind.help(settings)]
    actions = dict.fromkeys((*(action for kind in distinct for action in kind.actions), *common_actions(asked[0])))
    return lines + [KeyHelp(tuple(getattr(collect.keys, one)), action_text(one, asked[0])) for one in actions]
