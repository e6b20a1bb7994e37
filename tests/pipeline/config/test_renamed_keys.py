"""Settings that were renamed: rejected under the old name with the new one; kept configurations stay readable."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import known_keys, load_config, load_saved_config, read_saved_tree
from pipeline.config.renamed import RENAMED_KEYS, RENAMED_VALUES, current_names, original_settings
from pipeline.errors import UserError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text("images: {source: digits}\ninfer: {sheet: 7}\n")
    return path


def test_an_old_key_is_rejected_with_its_new_name(old: Path) -> None:
    with pytest.raises(UserError, match=rf"{old}: infer\.sheet was renamed to infer\.contact_sheet; rename it"):
        load_config(old)
    old.write_text("images: {source: digits}\n")
    with pytest.raises(UserError, match=r"SET infer\.sheet: it was renamed to infer\.contact_sheet; rename it"):
        load_config(old, ["infer.sheet=3"])


def test_a_kept_configuration_is_translated(old: Path) -> None:
    assert load_saved_config(old).infer.contact_sheet == 7
    assert read_saved_tree(old)["infer"] == {"contact_sheet": 7, "engine": None}
    old.write_text("images: {source: digits}\ninfer: none\n")
    with pytest.raises(UserError, match="infer"):
        load_saved_config(old)


def test_values(monkeypatch: pytest.MonkeyPatch, old: Path) -> None:
    monkeypatch.setitem(RENAMED_VALUES, "ppo.keep", {"newest": "last"})
    old.write_text("images: {source: digits}\nppo: {keep: newest}\n")
    with pytest.raises(UserError, match=r"ppo\.keep: 'newest' was renamed to 'last'; write the new value"):
        load_config(old)
    assert load_saved_config(old).ppo.keep == "last"


def test_names_go_both_ways() -> None:
    """Hashes of settings are taken under the original names."""
    tree = {"infer": {"sheet": 7, "top_k": 2}, "ppo": None}
    assert current_names(tree) == {"infer": {"contact_sheet": 7, "top_k": 2}, "ppo": None}
    assert original_settings(current_names(tree)) == tree


def test_the_table_names_present_keys() -> None:
    assert set(RENAMED_KEYS.values()) <= set(known_keys())
    assert not set(RENAMED_KEYS) & set(known_keys())
