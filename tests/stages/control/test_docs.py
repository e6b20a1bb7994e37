"""docs/control.md has every setting and every column of control tasks."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import settings_table
from pipeline.control.agents import agents
from pipeline.control.config import ControlCollectConfig, ControlConfig
from pipeline.control.feeds import feeds
from pipeline.control.questions import questions
from pipeline.control.teachers import segment_teachers

PAGE = Path(__file__).resolve().parents[3] / "docs" / "control.md"
SECTIONS = ("environment", "agent", "pretraining", "reward", "rounds", "evaluation", "baseline")


def own_settings() -> str:
    """The table of the settings that image runs do not have, or have with another meaning."""
    collect = {f"collect.{name}" for name in ControlCollectConfig.__annotations__}

    def is_own(row: str) -> bool:
        key = row.split("`")[1] if row.startswith("| `") else "environment"
        return key.split(".")[0] in SECTIONS or ".".join(key.split(".")[:2]) in collect

    return "\n".join(row for row in settings_table(ControlConfig).splitlines() if is_own(row)) + "\n"


def test_the_page_has_every_setting() -> None:
    assert PAGE.read_text(encoding="utf-8").endswith(own_settings())


def test_the_page_names_every_kind() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for registry in (agents, feeds, questions, segment_teachers):
        assert [name for name in registry.names() if name not in text] == []
