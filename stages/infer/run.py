"""`make infer`: the policy's predictions for any number of images, in the order given."""

from __future__ import annotations

import csv
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import click
from filelock import FileLock, Timeout
from tqdm import tqdm

from pipeline.config import Config
from pipeline.engines import ENGINES
from pipeline.errors import Stopped, UserError
from pipeline.models.predictor import Predictor
from pipeline.run import next_command
from pipeline.run.atomic_files import printable, writing
from pipeline.run.run_folder import RunFolder
from pipeline.run.signals import defer_signals, exit_code, stoppable
from stages.infer.classifier import NODE, BuildClassifier, Models
from stages.infer.contact_sheet import contact_sheet
from stages.infer.inputs import Source, open_source
from stages.infer.journal import Journal, Line, stamp
from stages.infer.prediction_formats import FORMATS, WRITERS, Columns

_log = logging.getLogger(__name__)

MAX_SHOWN = 10  # files left out that the terminal lists; <output>.bad.csv lists all


class InferResult(NamedTuple):
    """The output file, the number of predictions, the number of files left out, the list of these, and the contact sheet."""

    path: Path
    predictions: int
    bad: int
    bad_path: Path
    sheet: Path | None


def run(config: Config, images: str | Sequence[str], output: Path | None = None) -> InferResult:
    """Classify images with the aligned policy of the run.

    If it is stopped and called again, it resumes and writes the same file.

    Args:
        images: files, folders (searched below) and globs, one or several; or - for a list of names on standard input.
        output: .csv, .jsonl or .parquet; default runs/<name>/infer/predictions in the format of `infer.format`.

    Raises:
        UserError: no such image, no usable image, an unknown format, or another process writes the same file.
        Stopped: by Ctrl-C or SIGTERM.
    """
    folder, settings = RunFolder(config), config.infer
    output = output or folder.path / "infer" / f"predictions.{settings.format}"
    write = WRITERS[_format(output)]
    models = load_models(config)
    source = open_source(images, sys.stdin)
    columns = Columns(models.policy.classes, settings.top_k, settings.abstain_below, settings.reference)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = _hidden(output, "partial")
    with writing(output), _locked(output), Journal(partial, _key(config, models), settings.batch_size) as journal:
        _predict(source, models, journal, config)
        good, bad, first = _count(journal.lines())
        if not good:
            journal.remove()
            raise UserError(
                f"IMAGES={printable(source.name)}: none of {bad} files is a usable image; the first: {first}"
            )
        fresh = _hidden(output, "new")
        write(fresh, (columns.row(line) for line in journal.lines() if "p" in line), columns)
        bad_path = _list_bad(output, journal.lines(), bad)
        sheet = output.with_name(f"{output.stem}.sheet.png")
        sheet.unlink(missing_ok=True)  # of an earlier call, with other predictions
        if settings.contact_sheet:
            contact_sheet(
                sheet,
                journal.lines(),
                predicted=good,
                count=settings.contact_sheet,
                columns=columns,
                predictor=models.policy,
            )
        fresh.replace(output)
        journal.remove()
    return InferResult(output, good, bad, bad_path, sheet if settings.contact_sheet else None)


def load_models(config: Config) -> Models:
    """The policy of the run, and its reference if `infer.reference` asks for it."""
    folder, limits = RunFolder(config), config.images

    def load(stage: str) -> Predictor:
        path = folder.require(stage, "model.safetensors")
        return Predictor.load(path, config.runtime, limits.max_pixels, limits.max_megabytes)

    models = Models(load("ppo"), load("reference") if config.infer.reference else None)
    if models.reference and models.reference.header.transform != models.policy.header.transform:
        raise UserError(
            f"{folder.path}: reference and policy take images of different sizes; run `{next_command.make('ppo')}` again"
        )
    return models


def _format(output: Path) -> str:
    if (form := output.suffix.removeprefix(".")) not in FORMATS:
        raise UserError(f"OUTPUT={output}: unknown format; use .csv, .jsonl or .parquet")
    return form


def _hidden(output: Path, suffix: str) -> Path:
    return output.with_name(f".{output.name}.{suffix}")


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Hold the lock of the output; raises UserError if another process holds it."""
    try:
        with FileLock(_hidden(output, "lock"), timeout=0):
            yield
    except Timeout:
        raise UserError(f"{output}: another process is writing it; wait for it, or name another file") from None


def _key(config: Config, models: Models) -> dict[str, object]:
    """Everything a prediction depends on except the image."""
    transform, settings = models.policy.header.transform, config.infer
    key: dict[str, object] = {
        "policy": models.policy.weights,
        "reference": models.reference.weights if models.reference else None,
        "transform": transform.key,
        "limits": [models.policy.max_pixels, models.policy.max_bytes, config.runtime.decode_seconds],
        "batch": settings.batch_size,
        "batchnorm": "folded",
    }
    return key | ({"precision": "bf16"} if models.policy.bf16 else {})


def _predict(source: Source, models: Models, journal: Journal, config: Config) -> None:
    """Fill the journal with a line for every file of the source."""
    bar = tqdm(total=source.count, desc="infer", unit="image", leave=False, disable=None)
    done = 0  # a bar that is not shown does not count
    try:
        with stoppable():
            paths = journal.resume(source.paths())
            if done := journal.done:
                _log.info(f"resuming after {done} images that are already predicted")
            bar.update(done)
            for lines in _classified(paths, source.count, models, config, journal):
                with defer_signals():
                    journal.add(lines)
                    done += len(lines)
                bar.update(len(lines))
    except KeyboardInterrupt as stop:
        of = f" of {source.count}" if source.count else ""
        message = f"stopped after {done}{of} images; the same command resumes from there"
        raise Stopped(message, exit_code(stop)) from None
    finally:
        bar.close()


def _classified(
    paths: Iterator[Path], count: int | None, models: Models, config: Config, journal: Journal
) -> Iterator[list[Line]]:
    """Lines of the files that are left, a batch at a time, by the engine that the configuration names."""
    results = ENGINES.get(config.infer.engine or config.runtime.engine).map_batches(
        BuildClassifier(models, config),
        _batches(paths, journal.batch),
        count=None if count is None else -(-(count - journal.done) // journal.batch),
        runtime=config.runtime.model_copy(update={"precision": "bf16" if models.policy.bf16 else "fp32"}),
        device=models.policy.device,
    )
    with closing(results):
        for lines in results:
            _require_visible(lines)
            yield lines


def _require_visible(lines: Iterable[Line]) -> None:
    """Raise UserError for a file that is here, but not on the node that should have read it."""
    for line in lines:
        if (node := line.pop(NODE, None)) and stamp(Path(line["path"])):
            raise UserError(
                f"{printable(line['path'])}: it is here, but node {node} does not find it; put the images into a file "
                "system that all nodes mount at the same path, or use SET=infer.engine=local"
            )


def _batches(paths: Iterator[Path], size: int) -> Iterator[list[Path]]:
    while batch := list(islice(paths, size)):
        yield batch


def _count(lines: Iterator[Line]) -> tuple[int, int, str]:
    """Images predicted, files left out, and the first of these with its reason."""
    good, bad, first = 0, 0, ""
    for line in lines:
        if "p" in line:
            good += 1
        else:
            first = first or f"{printable(line['path'])}: {line['bad']}"
            bad += 1
    return good, bad, first


def _list_bad(output: Path, lines: Iterable[Line], count: int) -> Path:
    """Write <output>.bad.csv, a row for every file left out; remove an older one if there is none."""
    path = output.with_name(f"{output.stem}.bad.csv")
    if not count:
        path.unlink(missing_ok=True)
        return path
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "reason"])
        writer.writerows((line["path"], line["bad"]) for line in lines if "bad" in line)
    return path


def describe(result: InferResult) -> str:
    """A summary for the terminal, with the first files left out."""
    lines = [click.style("infer", bold=True) + f"      {result.predictions} predictions in {result.path}"]
    if result.sheet:
        lines.append(f"  contact sheet: {result.sheet}")
    if result.bad:
        with result.bad_path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(islice(csv.reader(file), 1, 1 + MAX_SHOWN))
        lines += [f"  left out: {printable(path)}: {reason}" for path, reason in rows]
        more = f"; {result.bad - len(rows)} more" if result.bad > len(rows) else ""
        lines.append(f"  {result.bad} left out{more}, all listed in {result.bad_path}")
    return "\n".join(lines)
