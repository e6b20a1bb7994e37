"""`image-rlhf feedback` for texts: import and export of comparisons, a check of every row, and quality statistics."""

from __future__ import annotations

import json
from pathlib import Path

from feedback_store.csv_store.line import line_of
from feedback_store.records import SIDES
from pipeline.errors import UserError
from pipeline.learning.person_seconds import person_seconds
from pipeline.learning.quality_tables import report_quality
from pipeline.run import next_command
from pipeline.run.atomic_files import write_atomically
from pipeline.run.extension import StageFunctions
from pipeline.text.config import TextConfig
from pipeline.text.kind import BETTER
from pipeline.text.pairs_csv import parse_columns
from stages.text.text_run import TextRun, add_pairs, columns_of, open_text_run

EXPORTED = ("id", "created_at", "annotator", "response_ms", "source", "shown_first")


def import_pairs(
    config: TextConfig,
    functions: StageFunctions,
    *,
    file: Path,
    form: str | None,
    columns: str,
    label_config: Path | None,
    annotator: str,
    skip_bad: bool,
) -> str:
    """`image-rlhf feedback import FILE`: add the comparisons of a CSV file."""
    if form not in (None, "csv") or label_config:
        raise UserError(f"{file}: texts are imported from CSV files only; leave out --format and --label-config")
    named = columns_of(config.items) | parse_columns(columns)
    return add_pairs(config, file, named, annotator=annotator, skip_bad=skip_bad)


def export_pairs(config: TextConfig, functions: StageFunctions, *, file: Path, form: str | None) -> str:
    """`image-rlhf feedback export FILE`: CSV, or TRL's preference format (.jsonl), with the texts themselves."""
    run = _with_judgments(config)
    rows = run.store.comparisons()
    form = form or {".csv": "csv", ".jsonl": "trl"}.get(file.suffix.casefold(), "")
    if form not in ("csv", "trl"):
        raise UserError(f"{file}: texts are exported as .csv or .jsonl (TRL's preference format); name such a file")
    known = rows["image_a"].isin(run.table.position) & rows["image_b"].isin(run.table.position)
    lost = f"; left out {int((~known).sum())} whose texts are missing" if not known.all() else ""
    rows = rows[known]
    first, second = (rows[name].map(run.table.text) for name in ("image_a", "image_b"))
    if form == "trl":
        decided = rows["choice"].isin(SIDES)
        chosen, rejected = first.where(rows["choice"] == "a", second), second.where(rows["choice"] == "a", first)
        lines = [
            json.dumps({"prompt": "", "chosen": won, "rejected": against}, ensure_ascii=False)
            for won, against in zip(chosen[decided], rejected[decided], strict=True)
        ]
        write_atomically(file, "".join(f"{line}\n" for line in lines).encode())
        ties = int((~decided).sum())
        return (
            f"{len(lines)} comparisons in {file}" + (f"; left out {ties} without a better text" if ties else "") + lost
        )
    columns = [first, second, rows["choice"], *(rows[name] for name in EXPORTED)]
    lines_of = [line_of(cells) for cells in zip(*columns, strict=True)]
    write_atomically(file, b"".join([line_of(("text_a", "text_b", "choice", *EXPORTED)), *lines_of]))
    return f"{len(rows)} judgments in {file}{lost}"


def check(config: TextConfig, functions: StageFunctions, *, accept: bool) -> str:
    """`image-rlhf feedback check`: every row is complete and unchanged, and its texts exist."""
    run = open_text_run(config)
    copies = run.store.accept() if accept else []
    if not accept and run.store.is_empty():
        raise _no_judgments(run)
    run.store.late.check()
    rows = run.store.check(run.table.position, (BETTER,))
    rewritten = "".join(f"\nrewritten in the store's own form; the previous file is {copy}" for copy in copies)
    return f"{rows} rows in {run.store.location}, about {len(run.table)} texts: all valid{rewritten}"


def stats(
    config: TextConfig, functions: StageFunctions, *, fast_ms: int, csv_file: Path | None, json_file: Path | None
) -> str:
    """`image-rlhf feedback stats`: agreement, consistency, side bias and speed."""
    run = _with_judgments(config)
    quality = run.store.quality({}, fast_ms)
    seconds = person_seconds([run.store.comparisons(), run.store.per_image_judgments()], 1)
    return report_quality(quality, seconds, csv_file, json_file)


def _with_judgments(config: TextConfig) -> TextRun:
    run = open_text_run(config)
    if run.store.is_empty():
        raise _no_judgments(run)
    return run


def _no_judgments(run: TextRun) -> UserError:
    return UserError(
        f"{run.store.location}: no judgments; set items.csv, run `image-rlhf feedback import FILE`, or "
        f"`{next_command.make('collect')}` to judge on a page"
    )
