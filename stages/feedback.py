"""`image-rlhf feedback`: judgments of other tools in and out, a check of every row, and how far they can be trusted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from feedback_store import agreement
from feedback_store.csv_store.line import line_of, unguarded
from feedback_store.exchange import label_studio, label_studio_export, plain_csv, trl
from feedback_store.exchange.common import Names, utf8_text
from feedback_store.exchange.imported import Imported, Reject
from feedback_store.store import FeedbackStore
from feedback_store.tables import TABLES
from pipeline.config import Config
from pipeline.data.gold_labels import class_names, folder_labels
from pipeline.data.image_table import ImageTable, read_images
from pipeline.errors import UserError
from pipeline.run import next_command
from pipeline.run.atomic_files import printable, write_atomically
from pipeline.run.run_folder import RunFolder

FORMATS = ("label-studio", "trl", "csv")
SHOWN = 20  # rejected lines listed on the terminal; all of them are in the file of rejects


def _open(config: Config) -> tuple[RunFolder, FeedbackStore, ImageTable, tuple[str, ...]]:
    run = RunFolder(config)
    run.prepare()
    seconds = config.runtime.decode_seconds
    table, _ = read_images(config.images, run.cache, config.model.cache_limit_mb, seconds)
    return run, run.open_store(), table, class_names(table, config.images.classes)


def import_file(
    config: Config,
    file: Path,
    form: str | None,
    columns: str,
    label_config: Path | None,
    annotator: str,
    skip_bad: bool,
) -> str:
    """Check all of a file, then store its judgments; returns what was done, for the terminal.

    Raises:
        UserError: something is wrong and `skip_bad` was not given; nothing was stored then.
    """
    for given in filter(None, (file, label_config)):
        if not given.is_file():
            reason = "not a regular file" if given.exists() else "no such file"
            raise UserError(f"{given}: {reason}; name the file to import")
    run, store, table, classes = _open(config)
    names = Names(dict(zip(table.paths, table.ids, strict=True)), classes)
    form = form or _guess(file)
    if form == "csv":
        found = plain_csv.read(file, names, plain_csv.parse_columns(columns), annotator)
    elif columns:
        raise UserError(f"--columns is for CSV files, and {file} is read as {form}")
    elif form == "trl":
        found = trl.read(file, names, annotator)
    else:
        found = label_studio.read(file, names, utf8_text(label_config) if label_config else None, annotator)
    found.reject_contradictions(_stored(store, {judgment.id for judgment in found.judgments}))
    rejects = _report_rejects(file, form, found, run.feedback, skip_bad)
    added = store.append(found.judgments)
    known = len(found.judgments) - added
    twice = f" ({known} were there already)" if known else ""
    return f"{added} judgments added to {store.location}{twice}{_left_out(found)}{rejects}"


def _stored(store: FeedbackStore, ids: set[str]) -> dict[str, dict[str, str]]:
    """The rows that have one of these ids, by id."""
    rows: dict[str, dict[str, str]] = {}
    for table in TABLES:
        frame = store.all_rows(table)
        for row in frame[frame["id"].isin(ids)].to_dict("records"):
            rows[row["id"]] = {str(name): str(cell) for name, cell in row.items()}
    return rows


def _left_out(found: Imported) -> str:
    left = found.left_out + Counter({"rows that stand in the file twice": found.repeated})
    return "".join(f"; left out {count} {what}" for what, count in sorted(left.items()))


def _guess(file: Path) -> str:
    formats = {".csv": "csv", ".jsonl": "trl", ".json": "label-studio"}
    if file.suffix.lower() not in formats:
        raise UserError(f"{file}: its name does not tell the format; name it with --format {'|'.join(FORMATS)}")
    return formats[file.suffix.lower()]


def _report_rejects(file: Path, form: str, found: Imported, folder: Path, skip_bad: bool) -> str:
    if not found.rejects:
        if not found.judgments:
            raise UserError(f"{file}: no judgment in it{_left_out(found)}")
        return ""
    listed = "\n".join(f"{file}, line {reject.line}: {reject.reason}" for reject in found.rejects[:SHOWN])
    more = f"\n... and {len(found.rejects) - SHOWN} more" if len(found.rejects) > SHOWN else ""
    if not skip_bad:
        raise UserError(
            f"{listed}{more}\nnothing was imported; fix these, or import the other {len(found.judgments)} with --skip-bad"
        )
    suffix = {"csv": ".csv", "trl": ".jsonl", "label-studio": ".json"}[form]
    target = folder / f"{file.stem}.rejects{suffix}"
    # Half a character, which JSON may hold, becomes an escape, which JSON may hold as well.
    write_atomically(target, rejected_text(form, found.rejects).encode(errors="backslashreplace"))
    click.echo(listed + more, err=True)
    return f"; {len(found.rejects)} rejected, listed with reasons in {target}"


def rejected_text(form: str, rejects: list[Reject]) -> str:
    """Rejected records in the format they came in, each with its reason."""
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
    """Write the judgments that stand; returns what was written, for the terminal."""
    run = RunFolder(config)
    store = run.open_store()
    comparisons, per_image = store.comparisons(), store.per_image_judgments()
    if not len(comparisons) + len(per_image):
        raise UserError(f"{store.location} holds no judgments; run `{next_command.make('collect')}` first")
    form = form or _guess(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if form == "trl":
        written, undecided = trl.write(file, comparisons)
        left = f"; left out {undecided} ties or unanswered comparisons" if undecided else ""
        left += f"; left out {len(per_image)} per-image judgments, for which TRL has no place" if len(per_image) else ""
        return f"{written} comparisons in {file}{left}"
    if form == "label-studio":
        _, _, table, _ = _open(config)
        files = {i: path for i, path in zip(table.ids, table.paths, strict=True) if printable(path) == path}
        made = label_studio_export.write(file, comparisons, per_image, files)
        return f"{len(comparisons) + len(per_image)} judgments in " + ", ".join(map(str, made))
    kinds = {"pairwise": comparisons, "per_image": per_image}
    full = {kind: frame for kind, frame in kinds.items() if len(frame)}
    targets = {kind: file if len(full) == 1 else file.with_name(f"{file.stem}.{kind}.csv") for kind in full}
    return ", ".join(
        f"{plain_csv.write(targets[kind], frame)} judgments in {targets[kind]}" for kind, frame in full.items()
    )


def check(config: Config, accept: bool) -> str:
    """Check every row of the store against the images and classes there are; returns the good news."""
    _, store, table, classes = _open(config)
    copies = store.accept() if accept else []
    if not accept and store.late.is_empty() and store.is_empty():
        raise UserError(f"{store.location} holds no judgments; run `{next_command.make('collect')}` first")
    store.late.check()
    rows = store.check(table.position, classes)
    kept = "".join(f"\nrewritten in the store's own form; the file as it was is {copy}" for copy in copies)
    if unsealed := store.unverified():
        return (
            f"{rows} rows in {store.location}: all whole, {rows - unsealed} unchanged since they were stored; {unsealed} have no "
            "checksum yet: the next answer adds it, or run `image-rlhf feedback check --accept`"
        )
    return f"{rows} rows in {store.location}: all whole, none changed since it was stored{kept}"


def stats(config: Config, fast_ms: int, csv_file: Path | None, json_file: Path | None) -> str:
    """Quality of the judgments as text; also as two CSV files or one JSON file if asked."""
    _, store, table, classes = _open(config)
    gold = folder_labels(table, classes).by_image(table.ids)
    found = store.quality(gold, fast_ms)
    if not len(found.questions):
        raise UserError(f"{store.location} holds no judgments; run `{next_command.make('collect')}` first")
    if csv_file:
        for name, frame in (("questions", found.questions), ("annotators", found.annotators)):
            text = plain_csv.guarded_frame(frame).to_csv(index=False)
            write_atomically(csv_file.with_name(f"{csv_file.stem}.{name}.csv"), text.encode())
    if json_file:
        tables: dict[str, Any] = agreement.as_json(found)
        write_atomically(json_file, (json.dumps(tables, indent=2) + "\n").encode())
    return agreement.as_text(found)
