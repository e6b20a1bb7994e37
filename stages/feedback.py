"""`image-rlhf feedback`: import and export of judgments, a check of every row, and quality statistics."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

from feedback_store.csv_store.line import line_of, unguarded
from feedback_store.exchange import label_studio, label_studio_export, plain_csv, trl
from feedback_store.exchange.common import Names, utf8_text
from feedback_store.exchange.imported import Imported, Reject
from feedback_store.store import FeedbackStore
from feedback_store.tables import TABLES
from pipeline.config import Config
from pipeline.data.gold_labels import class_names, read_gold_labels
from pipeline.data.image_table import ImageTable, read_images
from pipeline.errors import UserError
from pipeline.learning.person_seconds import person_seconds
from pipeline.learning.quality_tables import report_quality
from pipeline.run import next_command
from pipeline.run.atomic_files import printable, write_atomically
from pipeline.run.run_folder import RunFolder

_log = logging.getLogger(__name__)

FORMATS = ("label-studio", "trl", "csv")
MAX_LISTED = 20  # rejected lines in a message; the file of rejects has all of them


def _open(config: Config) -> tuple[RunFolder, FeedbackStore, ImageTable, tuple[str, ...]]:
    run = RunFolder(config)
    run.prepare()
    table, _ = read_images(
        config.images,
        run.cache,
        limit_mb=config.model.cache_limit_mb,
        decode_seconds=config.runtime.decode_seconds,
    )
    return run, run.open_store(), table, class_names(table, config.images.classes)


def import_file(
    config: Config,
    file: Path,
    form: str | None,
    *,
    columns: str,
    label_config: Path | None,
    annotator: str,
    skip_bad: bool,
) -> str:
    """Check a complete file, then store its judgments; returns a summary for the terminal.

    Raises:
        UserError: the file or, without `skip_bad`, a record is invalid; nothing was stored.
    """
    for path in filter(None, (file, label_config)):
        if not path.is_file():
            reason = "not a regular file" if path.exists() else "no such file"
            raise UserError(f"{path}: {reason}; name the file to import")
    run, store, table, classes = _open(config)
    names = Names(dict(zip(table.paths, table.ids, strict=True)), classes)
    form = form or _format_of(file)
    if form == "csv":
        imported = plain_csv.read(file, names, plain_csv.parse_columns(columns), annotator)
    elif columns:
        raise UserError(f"--columns is for CSV files only: {file} is read as {form}; leave it out, or add --format csv")
    elif form == "trl":
        imported = trl.read(file, names, annotator)
    else:
        imported = label_studio.read(file, names, utf8_text(label_config) if label_config else None, annotator)
    imported.reject_contradictions(_stored(store, {judgment.id for judgment in imported.judgments}))
    rejects = _report_rejects(file, form, imported, folder=run.feedback, skip_bad=skip_bad)
    added = store.append(imported.judgments)
    known = len(imported.judgments) - added
    stored = f" ({known} were stored already)" if known else ""
    return f"{added} judgments added to {store.location}{stored}{_left_out(imported)}{rejects}"


def _stored(store: FeedbackStore, ids: set[str]) -> dict[str, dict[str, str]]:
    """The rows that have one of these ids, by id."""
    rows: dict[str, dict[str, str]] = {}
    for table in TABLES:
        frame = store.all_rows(table)
        for row in frame[frame["id"].isin(ids)].to_dict("records"):
            rows[row["id"]] = {str(name): str(cell) for name, cell in row.items()}
    return rows


def _left_out(imported: Imported) -> str:
    left = imported.left_out + Counter({"duplicate rows": imported.repeated})
    return "".join(f"; left out {count} {what}" for what, count in sorted(left.items()))


def _format_of(file: Path) -> str:
    """The format by the file's extension."""
    formats = {".csv": "csv", ".jsonl": "trl", ".json": "label-studio"}
    if file.suffix.lower() not in formats:
        raise UserError(f"{file}: unknown file extension; add --format {'|'.join(FORMATS)}")
    return formats[file.suffix.lower()]


def _report_rejects(file: Path, form: str, imported: Imported, *, folder: Path, skip_bad: bool) -> str:
    """Write the file of rejects; returns its part of the summary."""
    if not imported.rejects:
        if not imported.judgments:
            raise UserError(f"{file}: it has no judgments{_left_out(imported)}")
        return ""
    listed = "\n".join(f"{file}, line {reject.line}: {reject.reason}" for reject in imported.rejects[:MAX_LISTED])
    more = f"\n... and {len(imported.rejects) - MAX_LISTED} more" if len(imported.rejects) > MAX_LISTED else ""
    if not skip_bad:
        raise UserError(
            f"{listed}{more}\nnothing was imported; fix these, or import the other {len(imported.judgments)} with --skip-bad"
        )
    suffix = {"csv": ".csv", "trl": ".jsonl", "label-studio": ".json"}[form]
    target = folder / f"{file.stem}.rejects{suffix}"
    # Unpaired surrogates, which UTF-8 cannot hold, are written as escapes.
    write_atomically(target, rejected_text(form, imported.rejects).encode(errors="backslashreplace"))
    _log.warning(listed + more)
    return f"; {len(imported.rejects)} rejected, listed with reasons in {target}"


def rejected_text(form: str, rejects: list[Reject]) -> str:
    """Rejected records in their own format, each with its line and the reason."""
    if form == "label-studio":
        return json.dumps([{"line": r.line, "reason": r.reason, "task": r.record} for r in rejects], indent=1)
    if form == "trl":
        rows = [r.record if isinstance(r.record, dict) else {"text": r.record} for r in rejects]
        return "".join(
            json.dumps({**row, "line": r.line, "reason": r.reason}, ensure_ascii=False) + "\n"
            for row, r in zip(rows, rejects, strict=True)
        )
    rows = [{**r.record, "line": str(r.line), "reason": r.reason} for r in rejects]
    fields = list(dict.fromkeys([*(name for r in rejects for name in r.record), "line", "reason"]))
    lines = [line_of(fields), *(line_of(unguarded(row.get(name, "")) for name in fields) for row in rows)]
    return b"".join(lines).decode()


def export_file(config: Config, file: Path, form: str | None) -> str:
    """Write the current judgments; returns a summary for the terminal."""
    run = RunFolder(config)
    store = run.open_store()
    comparisons, per_image = store.comparisons(), store.per_image_judgments()
    if not len(comparisons) + len(per_image):
        raise UserError(f"{store.location}: no judgments; run `{next_command.make('collect')}` first")
    form = form or _format_of(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if form == "trl":
        written, undecided = trl.write(file, comparisons)
        left = f"; left out {undecided} ties or unanswered comparisons" if undecided else ""
        left += (
            f"; left out {len(per_image)} per-image judgments, which TRL's format does not have"
            if len(per_image)
            else ""
        )
        return f"{written} comparisons in {file}{left}"
    if form == "label-studio":
        _, _, table, _ = _open(config)
        files = {i: path for i, path in zip(table.ids, table.paths, strict=True) if printable(path) == path}
        written_files = label_studio_export.write(file, comparisons, per_image, files)
        return f"{len(comparisons) + len(per_image)} judgments in " + ", ".join(map(str, written_files))
    tables = {"pairwise": comparisons, "per_image": per_image}
    filled = {name: frame for name, frame in tables.items() if len(frame)}
    targets = {name: file if len(filled) == 1 else file.with_name(f"{file.stem}.{name}.csv") for name in filled}
    return ", ".join(
        f"{plain_csv.write(targets[name], frame)} judgments in {targets[name]}" for name, frame in filled.items()
    )


def check(config: Config, accept: bool) -> str:
    """Check every row of the store against the images and classes; returns a summary for the terminal."""
    _, store, table, classes = _open(config)
    copies = store.accept() if accept else []
    if not accept and store.late.is_empty() and store.is_empty():
        raise UserError(f"{store.location}: no judgments; run `{next_command.make('collect')}` first")
    store.late.check()
    rows = store.check(table.position, classes)
    rewritten = "".join(f"\nrewritten in the store's own form; the previous file is {copy}" for copy in copies)
    if unsealed := store.unverified():
        return (
            f"{rows} rows in {store.location}: all valid, {rows - unsealed} unchanged since they were stored; {unsealed} have no "
            "checksum yet; the next answer adds it, or run `image-rlhf feedback check --accept`"
        )
    return f"{rows} rows in {store.location}: all valid, none changed since it was stored{rewritten}"


def stats(config: Config, fast_ms: int, csv_file: Path | None, json_file: Path | None) -> str:
    """Quality statistics and response times as text; optionally also as three CSV files or one JSON file."""
    _, store, table, classes = _open(config)
    gold = read_gold_labels(table, classes).by_image(table.ids)
    quality = store.quality(gold, fast_ms)
    if not len(quality.questions):
        raise UserError(f"{store.location}: no judgments; run `{next_command.make('collect')}` first")
    seconds = person_seconds([store.comparisons(), store.per_image_judgments()], len(classes))
    return report_quality(quality, seconds, csv_file, json_file)
