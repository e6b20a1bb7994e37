"""Rules for every file of the project: where modules lie, how long files and lines may be, and what no text may hold."""

from __future__ import annotations

import fnmatch
import re
import subprocess
from pathlib import Path

import pytest
from support.slow import SLOW

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 250
MAX_COLUMNS = 120
# Written by hand and read by people: source, scripts, styles, templates, prose.
LIMITED = {".py", ".sh", ".js", ".css", ".html", ".jinja", ".md", ".toml", ".yaml", ".yml", ".ipynb"}
GENERATED = {".ci/constraints.txt"}
FORBIDDEN = ("\u00ab", "\u00bb", "fmt: " + "skip", "fmt: " + "off")


def tracked() -> list[Path]:
    """Every file that Git tracks, or all that lie here where this is no clone (an unpacked archive)."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    hidden = (".venv", "runs", "data", "__pycache__")
    return [path for path in ROOT.rglob("*") if path.is_file() and not set(path.parts) & set(hidden)]


def texts() -> dict[str, str]:
    """The tracked files that are text, by their path below the root."""
    found = {}
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data:
            found[path.relative_to(ROOT).as_posix()] = data.decode("utf-8")
    return found


@pytest.fixture(scope="module", name="texts")
def texts_fixture() -> dict[str, str]:
    return texts()


def test_nothing_lies_flat_in_pipeline() -> None:
    """Modules are in rooms (docs/architecture.md)."""
    flat = {path.name for path in (ROOT / "pipeline").glob("*.py")}
    assert flat <= {"__init__.py", "errors.py"}, flat


def test_no_text_holds_what_the_style_forbids(texts: dict[str, str]) -> None:
    """Straight quotes only; what the formatter makes ugly is too large, and is split instead of exempted."""
    found = [
        f"{name}:{number}: {word}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), start=1)
        for word in FORBIDDEN
        if word in line
    ]
    assert not found, "\n".join(found)


def test_no_file_is_longer_than_a_reader_can_hold(texts: dict[str, str]) -> None:
    lengths = {
        name: text.count("\n")
        for name, text in texts.items()
        if (Path(name).suffix in LIMITED - {".ipynb"} or Path(name).name == "Makefile") and name not in GENERATED
    }
    long = {name: length for name, length in lengths.items() if length > MAX_LINES}
    assert not long, f"over {MAX_LINES} lines: {long}"


def test_tests_run_coroutines_beside_the_browser(texts: dict[str, str]) -> None:
    """`asyncio.run` fails in whichever test comes after the browser was started; `run_coroutine` does not."""
    call = "asyncio." + "run("
    found = {name for name, text in texts.items() if name.startswith("tests/") and call in text}
    assert not found, f"use support.coroutines.run_coroutine instead: {found}"


def test_slow_patterns_name_modules(texts: dict[str, str]) -> None:
    modules = [name.removeprefix("tests/") for name in texts if name.startswith("tests/")]
    unused = [pattern for pattern in SLOW if not fnmatch.filter(modules, pattern)]
    assert not unused, f"support/slow.py names what is not there: {unused}"


def prose(text: str) -> list[tuple[int, str]]:
    """The lines of a Markdown text, with their numbers, that are neither code, nor a table, nor a link alone."""
    kept, fence = [], ""
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if mark := re.match(r"(`{3,}|~{3,})", bare):
            if not fence:
                fence = mark[1]
            elif bare.startswith(fence):
                fence = ""
            continue
        alone = re.fullmatch(r"([-*+] |\d+\. )?(\[[^\]]*\]:? ?)?\(?<?\w+://\S+", bare) or re.fullmatch(
            r"!?\[[^\]]*\]\([^)]*\)", bare
        )
        if not fence and not bare.startswith("|") and not alone:
            kept.append((number, line))
    return kept


def test_prose_is_told_from_code_tables_and_links() -> None:
    text = (
        "one\n```sh\ncode\n```\n| a | b |\nhttps://x.org/y\n- https://x.org/y\n![a](b.png)\n[a]: https://x.org\ntwo\n"
    )
    assert prose(text) == [(1, "one"), (10, "two")]


def test_prose_wraps(texts: dict[str, str]) -> None:
    found = [
        f"{name}:{number}: {len(line)} characters"
        for name, text in texts.items()
        if name.endswith(".md")
        for number, line in prose(text)
        if len(line) > MAX_COLUMNS
    ]
    assert not found, "\n".join(found)
