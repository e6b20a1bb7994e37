"""The texts of a run: runs/<name>/texts.jsonl, one text per line with its id, which is a hash of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.errors import UserError
from pipeline.run.atomic_files import write_atomically
from pipeline.run.stage_lock import stage_lock
from pipeline.text.kind import PREFIX

FILE = "texts.jsonl"
ID_DIGITS = 16  # of a text's SHA-256


def text_id(text: str) -> str:
    """The id of a text: equal for equal texts, wherever they come from."""
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


@dataclass(frozen=True)
class TextTable:
    """Texts in the order of their ids, so that the order in which they were added changes no result."""

    ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> TextTable:
        """The distinct ones of some texts."""
        by_id = {text_id(text): text for text in texts}
        ids = tuple(sorted(by_id))
        return cls(ids, tuple(by_id[one] for one in ids))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Row number of each id."""
        return {one: row for row, one in enumerate(self.ids)}

    def text(self, one: str) -> str:
        """The text with an id; raises KeyError."""
        return self.texts[self.position[one]]

    @property
    def fingerprint(self) -> str:
        """Hash of all ids, for manifests."""
        return hashlib.sha256("\n".join(self.ids).encode()).hexdigest()


def read_table(folder: Path) -> TextTable:
    """The texts in a run's folder; none if there is no file.

    Raises:
        UserError: a line is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return TextTable()
    texts = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        try:
            entry = json.loads(line.decode())
            text = entry["text"]
            if text_id(text) != entry["id"]:
                raise ValueError("the text does not have its id")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"{path}, line {number}: damaged ({str(error) or type(error).__name__}); delete the file and import the texts "
                "again: judgments are stored elsewhere"
            ) from None
        texts.append(text)
    return TextTable.of(texts)


def add_texts(folder: Path, texts: Iterable[str]) -> TextTable:
    """Add texts to a run's folder, and return all of them; nothing is written if they are there already.

    Raises:
        UserError: another process is adding some.
    """
    with stage_lock(folder / "texts"):
        before = read_table(folder)
        table = TextTable.of([*before.texts, *texts])
        if len(table) > len(before):
            lines = (
                json.dumps({"id": one, "text": text}, ensure_ascii=False)
                for one, text in zip(table.ids, table.texts, strict=True)
            )
            write_atomically(folder / FILE, "".join(f"{line}\n" for line in lines).encode())
    return table
