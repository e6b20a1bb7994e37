"""Random edits of a sealed file: each is refused with its line, or changes no record."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest
from support.judgments import comparisons

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError

EDITS = 10_000 if "FUZZ_EXAMPLES" in os.environ else 500  # `make fuzz` sets it


@pytest.fixture
def store(tmp_path: Path) -> CsvFeedbackStore:
    made = CsvFeedbackStore(tmp_path)
    made.append(comparisons(60))
    return made


def edited(text: bytes, chance: random.Random) -> bytes:
    """One random edit: of bytes or of lines, of the same length or another, or of all line ends."""
    lines = text.splitlines(keepends=True)
    start = chance.randrange(len(text))
    length = min(chance.choice((1, 1, 2, 5, 40, 200)), len(text) - start)
    first = chance.randrange(len(lines))
    count = chance.choice((1, 1, 2, 5))
    some = bytes(chance.choice(b'abc0129,;"\r\n\x00\xff') for _ in range(length))
    kind = chance.randrange(12)
    if kind == 0:
        return text[:start] + some + text[start + length :]
    if kind == 1:
        return text[:start] + text[start + length :]
    if kind == 2:
        return text[:start] + some + text[start:]
    if kind == 3:
        return text[:start]
    if kind == 4:
        return b"".join(lines[:first])
    if kind == 5:
        return b"".join(lines[:first] + lines[first + count :])
    if kind == 6:
        return b"".join(lines[:first] + lines[first : first + count] * 2 + lines[first + count :])
    if kind == 7:
        old, new = chance.choice(
            ((b",a,", b",b,"), (b",b,", b",a,"), (b",cant_tell,", b",b,"), (b",tie,", b",cant_tell,"))
        )
        return b"".join([*lines[:first], *(line.replace(old, new) for line in lines[first:])])
    if kind == 8:
        return text.replace(b"\r\n", chance.choice((b"\n", b"\r", b"\n\n", b"\r\r\n")), chance.choice((-1, 1, 5)))
    if kind == 9:
        chance.shuffle(lines)
        return b"".join(lines)
    if kind == 10:
        new = lines[first].replace(b"judgment", chance.choice((b"judgement", b"Judgment", b"j")))
        return b"".join([*lines[:first], new, *lines[first + chance.choice((0, 1)) :]])
    return text + some


def refusal(store: CsvFeedbackStore) -> str | None:
    try:
        store.comparisons()
    except FeedbackError as error:
        return str(error)
    return None


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::feedback_store.errors.FeedbackWarning")
def test_random_edits_are_named_or_change_no_record(store: CsvFeedbackStore) -> None:
    """Each is refused with the file and the line, or every record is as it was stored."""
    chance = random.Random(0)
    text, stored = store.pairwise.path.read_bytes(), store.comparisons().to_dict("records")
    named = unchanged = 0
    for _ in range(EDITS):
        changed = edited(text, chance)
        store.pairwise.path.write_bytes(changed)
        if (said := refusal(store)) is None:
            rows = store.comparisons().to_dict("records")
            assert rows[: len(stored)] == stored, "rows below those that were stored are another program's"
            assert changed.startswith(text)
            unchanged += 1
        else:
            assert re.search(r"pairwise\.csv(, lines? \d+|: \d+ bytes that were stored are gone .* line \d+)", said)
            named += 1
    assert named > 0.8 * EDITS
    assert unchanged + named == EDITS
