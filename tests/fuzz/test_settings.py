"""Any value for any setting, and any YAML: a configuration, or one refusal, within limits of time and memory."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import bounded, fuzz

from pipeline.config import Config, dump_config, known_keys, load_config, parse_config
from pipeline.errors import UserError

CONFIGS = [path.read_text() for path in sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))]
MAX_MESSAGE = 20_000  # characters of a refusal

HUGE = [2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 10**400, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf]
numbers = st.one_of(st.integers(-3, 10_000), st.integers(), st.floats(), st.sampled_from(HUGE))
texts = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(categories=["Cc", "Cs", "Co", "Cn", "Zl"]), max_size=5),
    st.integers(1, 200_000).map("x".__mul__),
    st.sampled_from(["null", "~", "010", "1e5", ".nan", "yes", "2024-02-30", "!!int x", "$HOME", "~x"]),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, texts, st.dates())
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
keys = st.sampled_from([*known_keys(), "images", "ppo", "collect.keys", "images.augment", "runtime", "ppo.none", ""])


def accepted(made: Config, folder: Path) -> None:
    """What loads can be written and read back, and is the same."""
    path = folder / "again.yaml"
    path.write_text(dump_config(made), encoding="utf-8")
    assert load_config(path) == made


def refused(error: UserError) -> None:
    message = str(error)
    assert 0 < len(message) < MAX_MESSAGE
    assert all(line.strip() for line in message.splitlines())


def tree_of(key: str, value: object) -> dict[str, object]:
    tree: dict[str, object] = {"images": {"source": "digits"}}
    at = tree
    *parents, leaf = key.split(".")
    for parent in parents:
        at = at.setdefault(parent, {})  # type: ignore[assignment]
    at[leaf] = value
    return tree


@fuzz
@given(key=keys, value=values)
def test_any_value_of_any_setting(key: str, value: object, tmp_path: Path) -> None:
    with bounded():
        try:
            made = parse_config(tree_of(key, value), "test")
        except UserError as error:
            refused(error)
        else:
            accepted(made, tmp_path)


@pytest.mark.parametrize("key", known_keys())
def test_every_setting_refuses_what_no_setting_means(key: str, tmp_path: Path) -> None:
    """Each of the usual suspects for each setting, whatever else is drawn."""
    for value in (*HUGE, -1, "\0", "\ud800", "x" * 100_000, [[]], {"": {}}, [None] * 100):
        try:
            made = parse_config(tree_of(key, value), "test")
        except UserError as error:
            refused(error)
        else:
            accepted(made, tmp_path)
            assert isinstance(value, int | float), "a number may be a name, or a tiny but positive rate"


@fuzz
@given(key=st.one_of(keys, texts), value=st.one_of(texts, values.map(str)))
def test_any_override(key: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("images: {source: digits}")
    with bounded():
        try:
            made = load_config(tmp_path / "c.yaml", [f"{key}={value}"])
        except UserError as error:
            refused(error)
        else:
            accepted(made, tmp_path)


INDICATORS = "[]{},:?-&*!|>'\"%@`#<~= \n\t0123456789.eE+_xoabntrue"
fragments = st.one_of(
    st.text(st.sampled_from(INDICATORS), max_size=60),
    st.text(max_size=30),
    values.map(lambda value: yaml.dump(value)),
    st.sampled_from(
        [
            "&a ",
            "*a",
            "<<: *a",
            "!!int ",
            "!!set ",
            "!!python/none ",
            "? ",
            "- ",
            "[" * 50,
            "{a: " * 30,
            "1:" * 200,
            "0x" + "f" * 5000,
            "---\n",
            "...\n",
            "%YAML 9.9\n",
        ]
    ),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A configuration that comes with the project, parts of which are replaced, repeated or gone."""
    text = draw(st.sampled_from(CONFIGS))
    for _ in range(draw(st.integers(0, 4))):
        start, length = draw(st.integers(0, len(text))), draw(st.integers(0, 40))
        inserted = draw(st.one_of(fragments, st.just(text[start : start + 200])))
        text = text[:start] + inserted + text[start + length :]
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if data and draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@fuzz
@given(
    data=st.one_of(
        mutated(), fragments.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=100)
    )
)
def test_any_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(data)
    with bounded():
        try:
            made = load_config(path)
        except UserError as error:
            refused(error)
        else:
            accepted(made, tmp_path)
