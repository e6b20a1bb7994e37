"""A run about texts: its folder, store and texts, with `items.csv` read into them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from feedback_store.csv_store.line import line_of, unguarded
from feedback_store.exchange.imported import Imported
from feedback_store.store import FeedbackStore
from pipeline.errors import UserError
from pipeline.run.atomic_files import write_atomically
from pipeline.run.run_folder import RunFolder
from pipeline.text.config import ItemsConfig, TextConfig
from pipeline.text.pairs_csv import read_pairs
from pipeline.text.table import TextTable, add_texts, read_table

_log = logging.getLogger(__name__)

MAX_LISTED = 20  # rejected lines in a message; the file of rejects has all of them


@dataclass(frozen=True)
class TextRun:
    """A run's folder, its judgments, and the texts that they are about."""

    folder: RunFolder
    store: FeedbackStore
    table: TextTable


def open_text_run(config: TextConfig) -> TextRun:
    """Open a run; the rows of `items.csv` that are not stored yet are added first.

    Raises:
        UserError: an invalid row of `items.csv`; nothing of it was stored.
    """
    folder = RunFolder(config)
    folder.prepare()
    store = folder.open_store()
    if config.items.csv:
        message = add_pairs(config, config.items.csv, columns_of(config.items), skip_bad=config.items.skip_bad)
        if not message.startswith("0 judgments"):
            _log.info(message)
    return TextRun(folder, store, read_table(folder.path))


def columns_of(items: ItemsConfig) -> dict[str, str]:
    """The columns that the configuration names."""
    named = {"text_a": items.text_a, "text_b": items.text_b, "choice": items.label}
    return {name: column for name, column in named.items() if column is not None}


def add_pairs(
    config: TextConfig, file: Path, columns: Mapping[str, str], *, annotator: str = "imported", skip_bad: bool = False
) -> str:
    """Check a complete CSV file, then store its texts and judgments; returns a summary for the terminal.

    Raises:
        UserError: the file or, without `skip_bad`, a row is invalid; nothing was stored.
        FeedbackError: a column is missing.
    """
    if not file.is_file():
        reason = "not a regular file" if file.exists() else "no such file"
        raise UserError(f"{file}: {reason}; name a CSV file with two columns of texts and one of labels")
    run = RunFolder(config)
    store = run.open_store()
    pairs = read_pairs(file, columns, config.items.choices, annotator)
    imported = pairs.imported
    imported.reject_contradictions(_stored(store, {judgment.id for judgment in imported.judgments}))
    rejects = _report_rejects(file, imported, run.feedback, skip_bad=skip_bad)
    used = {side for one in imported.judgments for side in (one.image_a, one.image_b)}  # type: ignore[attr-defined]
    table = add_texts(run.path, (pairs.texts[one] for one in used))
    added = store.append(imported.judgments)
    known = len(imported.judgments) - added
    stored = f" ({known} were stored already)" if known else ""
    repeated = f"; left out {imported.repeated} duplicate rows" if imported.repeated else ""
    note = f"\n{pairs.note}" if pairs.note else ""
    return f"{added} judgments added to {store.location}{stored}, about {len(table)} texts{repeated}{rejects}{note}"


def _stored(store: FeedbackStore, ids: set[str]) -> dict[str, dict[str, str]]:
    """The rows that have one of these ids, by id."""
    frame = store.all_rows("pairwise")
    rows = frame[frame["id"].isin(ids)].to_dict("records")
    return {row["id"]: {str(name): str(cell) for name, cell in row.items()} for row in rows}


def _report_rejects(file: Path, imported: Imported, folder: Path, *, skip_bad: bool) -> str:
    """Write the file of rejects; returns its part of the summary."""
    if not imported.rejects:
        if not imported.judgments:
            raise UserError(f"{file}: it has no judgments; it needs a row for each comparison")
        return ""
    listed = "\n".join(f"{file}, line {one.line}: {one.reason}" for one in imported.rejects[:MAX_LISTED])
    more = f"\n... and {len(imported.rejects) - MAX_LISTED} more" if len(imported.rejects) > MAX_LISTED else ""
    if not skip_bad:
        raise UserError(
            f"{listed}{more}\nnothing was imported; fix these, or import the other {len(imported.judgments)} with --skip-bad "
            "(items.skip_bad: true)"
        )
    fields = list(dict.fromkeys([*(name for one in imported.rejects for name in one.record), "line", "reason"]))
    rows = [{**one.record, "line": str(one.line), "reason": one.reason} for one in imported.rejects]
    lines = [line_of(fields), *(line_of(unguarded(row.get(name, "")) for name in fields) for row in rows)]
    target = folder / f"{file.stem}.rejects.csv"
    write_atomically(target, b"".join(lines))
    _log.warning(listed + more)
    return f"; {len(imported.rejects)} rejected, listed with reasons in {target}"
