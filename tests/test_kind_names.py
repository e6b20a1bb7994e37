"""What differs between judgment kinds is in their objects: nowhere else is a kind's name compared with anything."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.kinds import kinds

ROOT = Path(__file__).resolve().parent.parent
KINDS = frozenset(kinds.names())
HOME = (ROOT / "pipeline" / "kinds", ROOT / "feedback_store" / "schemas")
FILES = sorted(
    path
    for package in ("feedback_store", "pipeline", "stages", "benchmarks")
    for path in (ROOT / package).rglob("*.py")
    if not any(path.is_relative_to(home) for home in HOME)
)


def names_in(node: ast.AST) -> set[str]:
    """Names of kinds in a constant, or in a literal collection of constants."""
    parts = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return {part.value for part in parts if isinstance(part, ast.Constant) and part.value in KINDS}


def comparisons(source: str) -> Iterator[int]:
    """Lines on which the name of a kind is compared, matched, or is a key beside another one's."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(names_in(part) for part in (node.left, *node.comparators)):
            yield node.lineno
        if isinstance(node, ast.MatchValue) and names_in(node.value):
            yield node.lineno
        if isinstance(node, ast.Dict) and len(set().union(*(names_in(key) for key in node.keys if key))) > 1:
            yield node.lineno


def test_the_search_finds_what_it_is_for() -> None:
    found = 'if kind == "rating": a\nif kind in ("verdict", "x"): a\nmatch kind:\n    case "label": a\n'
    assert list(comparisons(found)) == [1, 2, 4]
    assert list(comparisons('{"label": 1, "verdict": 2}')) == [1]
    assert list(comparisons('{"label": 1, "text": 2}\nx = "rating"\n')) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_comparison_with_the_name_of_a_kind(path: Path) -> None:
    assert list(comparisons(path.read_text(encoding="utf-8"))) == []


def test_nor_in_the_scripts_of_the_pages() -> None:
    names = "|".join(KINDS)
    wanted = re.compile(rf"""[!=]==?\s*["'](?:{names})["']|kind\s*[!=]==?""")
    for path in (ROOT / "stages").rglob("*.js"):
        found = [line for line in path.read_text(encoding="utf-8").splitlines() if wanted.search(line)]
        assert found == [], path
