"""`make rank`: score new texts with the reward model, and write them in order to runs/<name>/rank/ranking.csv."""

from __future__ import annotations

from pathlib import Path

import click
import torch
from torch import Tensor

from feedback_store.csv_store.line import line_of
from pipeline.errors import UserError
from pipeline.run import next_command
from pipeline.run.atomic_files import printable, write_atomically
from pipeline.run.extension import StageFunctions
from pipeline.run.run_folder import RunFolder
from pipeline.run.runtime import start
from pipeline.text.config import TextConfig
from pipeline.text.pairs_csv import read_texts
from pipeline.text.reward_model import Scores, TextRewardModel
from stages.text.train import MODEL, shortened

TOP = 10  # texts that are printed


def rank(
    config: TextConfig, functions: StageFunctions, *, texts: Path | None, output: Path | None, column: str | None
) -> str:
    """Score and rank the texts of a file; returns what is printed.

    Raises:
        UserError: no file, no texts in it, or no reward model yet.
    """
    if texts is None:
        raise UserError(
            f"TEXTS is missing: name a CSV file or one with a text per line, e.g. `{next_command.make('rank')} TEXTS=file.csv`"
        )
    if not texts.is_file():
        raise UserError(
            f"{texts}: no such file; name a CSV file with a column of texts, or a file with a text per line"
        )
    found = list(dict.fromkeys(text for _, text in read_texts(texts, column or config.items.column)))
    if not found:
        raise UserError(f"{texts}: it has no texts")
    folder = RunFolder(config)
    path = folder.require("reward", MODEL)
    model = TextRewardModel.load(path, config.model)
    model.encoder.to(start(config.runtime).device)
    scores = model.scores(found)
    order = torch.argsort(scores.score, descending=True, stable=True).tolist()
    target = output or folder.path / "rank" / "ranking.csv"
    write_atomically(target, b"".join(_lines(found, scores, order)))
    top = "\n".join(
        f"{place:>4}  {_figures(scores, row)}  {printable(shortened(found[row]))}"
        for place, row in enumerate(order[:TOP], start=1)
    )
    more = f"\n      ... and {len(order) - TOP} more" if len(order) > TOP else ""
    what = "score and 95 % interval of the ensemble" if scores.low is not None else "score"
    return (
        f"{click.style('rank', bold=True)}  {len(found)} texts, the best first; {what} in nats, 0 is the average text that was judged\n"
        f"{top}{more}\nall of them are in {target}"
    )


def _figures(scores: Scores, row: int) -> str:
    score = f"{float(scores.score[row]):+7.2f}"
    if scores.low is None or scores.high is None:
        return score
    return f"{score} [{float(scores.low[row]):+.2f}, {float(scores.high[row]):+.2f}]"


def _lines(texts: list[str], scores: Scores, order: list[int]) -> list[bytes]:
    """The ranking as lines of CSV."""
    columns: dict[str, Tensor] = {"score": scores.score}
    if scores.low is not None and scores.high is not None:
        columns |= {"low": scores.low, "high": scores.high}
    lines = [_line(["rank", *columns, "text"])]
    for place, row in enumerate(order, start=1):
        lines.append(_line([str(place), *(f"{float(values[row]):.6f}" for values in columns.values()), texts[row]]))
    return lines


def _line(cells: list[str]) -> bytes:
    """A line in which only the text, the last cell, is guarded against formulas: scores may be negative."""
    text = line_of(cells[-1:])
    return ",".join(cells[:-1]).encode() + b"," + text
