"""The file of texts, the kind of judgment and the configuration."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from feedback_store.schemas import schema_of
from feedback_store.schemas.base import Subject
from feedback_store.schemas.pair import IMAGE_COMPARISON
from pipeline.config import Config, load_settings, settings_table
from pipeline.errors import UserError
from pipeline.kinds.items import Item
from pipeline.text.config import TextConfig
from pipeline.text.kind import TEXT_COMPARISON
from pipeline.text.table import FILE, TextTable, add_texts, read_table, text_id

TEXTS = ("b\nc", "", "ü", "\u2028 line")


def test_texts_are_kept_once_in_the_order_of_their_ids(tmp_path: Path) -> None:
    first = add_texts(tmp_path, TEXTS[:2])
    both = add_texts(tmp_path, [*TEXTS[2:], *TEXTS])
    assert list(both.ids) == sorted(map(text_id, TEXTS))
    assert len(first) == 2
    assert read_table(tmp_path) == both == TextTable.of(reversed(TEXTS))
    assert [both.text(text_id(text)) for text in TEXTS] == list(TEXTS)
    before = (tmp_path / FILE).stat().st_mtime_ns
    add_texts(tmp_path, TEXTS)
    assert (tmp_path / FILE).stat().st_mtime_ns == before, "nothing new: nothing is written"


@pytest.mark.parametrize("change", [lambda data: data[:-5], lambda data: data.replace("ü".encode(), b"u")])
def test_a_damaged_file_is_named_by_line(tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    add_texts(tmp_path, ["ü"])
    path = tmp_path / FILE
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=f"{FILE}, line 1: damaged"):
        read_table(tmp_path)


def test_rows_about_texts_belong_to_their_own_kind() -> None:
    a, b = text_id("x"), text_id("y")
    rows = pd.DataFrame({"image_a": [a, "img-1"], "image_b": [b, "img-2"], "label_a": "better", "label_b": "better"})
    assert [schema_of(row).name for row in rows.to_dict("records")] == ["text_comparison", "image_comparison"]
    assert IMAGE_COMPARISON.select(rows).tolist() == [False, True]
    item, turned = (Item("text_comparison", Subject(pair, ("better",))) for pair in ((a, b), (b, a)))
    assert item.key == turned.key


def test_every_text_is_asked_about_before_one_is_again() -> None:
    pool = torch.tensor([3, 4, 5, 6, 8])
    drawn = TEXT_COMPARISON.draw(pool, 7, torch.empty(0), torch.Generator().manual_seed(0)).rows
    assert drawn.shape == (7, 2)
    assert bool((drawn[:, 0] != drawn[:, 1]).all())
    assert len(set(drawn[:2].flatten().tolist()) & {3, 4, 5, 6, 8}) == 4
    more = TEXT_COMPARISON.draw(pool, 20, torch.empty(0), torch.Generator().manual_seed(0)).rows
    assert more[:7].tolist() == drawn.tolist(), "a larger count appends questions"
    with pytest.raises(UserError, match="at least two"):
        TEXT_COMPARISON.draw(pool[:1], 1, torch.empty(0), torch.Generator())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("reward.objective=supervised", "reward.objective is for images only; remove it"),
        ("collect.gold_fraction=0.1", "collect.gold_fraction is for images only; remove it"),
        ("reward.optimiser=adamw", "reward.optimiser: model.trainable: head is trained by lbfgs; set it to auto"),
        ("collect.question=label", "collect.question"),
        ("items.choices.good=c", "items.choices"),
        ("model.backbone=x", "unknown key 'model.backbone'"),
    ],
)
def test_settings_that_texts_do_not_have_are_refused(tmp_path: Path, change: str, message: str) -> None:
    (tmp_path / "texts.yaml").write_text("items: {csv: x.csv}\n")
    with pytest.raises(UserError) as raised:
        load_settings(TextConfig, tmp_path / "texts.yaml", [change])
    assert message in str(raised.value)


def test_the_documentation_has_the_settings() -> None:
    """docs/texts.md ends with the settings that differ from those of images."""
    header, line, *rows = settings_table(TextConfig).splitlines()
    others = set(settings_table(Config).splitlines())
    own = [row for row in rows if row.startswith(("| `items.", "| `model.", "| `reward.")) and row not in others]
    text = (Path(__file__).parents[3] / "docs" / "texts.md").read_text(encoding="utf-8")
    assert text.endswith("\n".join([header, line, *own, ""]))
