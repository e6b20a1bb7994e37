"""Personal links: secret, the same after a restart, and never replaced because their file is damaged."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipeline.errors import UserError
from stages.collect.web.personal_links import Links


def test_links_are_secret_and_outlive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "links.json"
    first = {link.name: link.token for link in Links(path, ["ann"])}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = {link.name: link.token for link in Links(path, ["ann", "bob"])}
    assert {name: second[name] for name in first} == first
    assert len(set(second.values())) == 3
    assert min(map(len, second.values())) >= 32
    assert Links(path, ["bob"]).find(first["ann"]) is None, "who is not asked any more has no way in"


KEY, TOKEN = "0" * 64, "a" * 32
DAMAGED_LINKS = [
    "",
    "{",
    "[]",
    "null",
    "NaN",
    f'{{"key": "{KEY}"}}',
    '{"tokens": {}}',
    '{"key": 1, "tokens": {}}',
    f'{{"key": "{KEY}", "tokens": []}}',
    f'{{"key": "{KEY}", "tokens": {{"": ""}}}}',
    f'{{"key": "{KEY}", "tokens": {{"": 1}}}}',
    f'{{"key": "{KEY}", "tokens": {{"": "short"}}}}',
    f'{{"key": "{KEY[1:]}z", "tokens": {{}}}}',
    '{"key": "", "tokens": {}}',
    "[" * 100_000,
    f'{{"key": "{KEY}", "tokens": {{"": "{TOKEN}", "ann": "{TOKEN}"}}}}',
    "\udcff",
]


@pytest.mark.parametrize("content", DAMAGED_LINKS, ids=range(len(DAMAGED_LINKS)))
def test_damaged_links_are_never_replaced_by_new_ones(tmp_path: Path, content: str) -> None:
    """An empty token would let everybody in, and new ones would shut everybody out."""
    path = tmp_path / "links.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(
        UserError, match=r"damaged file of personal links \(.*links\.json; put a backup in its place, or move"
    ):
        Links(path, ["ann"])
    assert path.read_bytes() == content.encode(errors="surrogateescape")


def test_links_that_are_no_file_are_said(tmp_path: Path) -> None:
    (tmp_path / "links.json").mkdir()
    with pytest.raises(UserError, match="the personal links cannot be read"):
        Links(tmp_path / "links.json", ["ann"])


def test_tokens_are_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    links, compared = Links(tmp_path / "links.json", ["ann", "bob"]), []
    true = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(1) or true(a, b))
    links.find(links.owner.token)
    assert len(compared) == 3, "all of them, also after one was found"
