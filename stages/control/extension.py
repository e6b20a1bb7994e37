"""EXTENSION: the commands of control tasks. The command line finds it by the section `environment`."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from feedback_store import agreement
from feedback_store.exchange import plain_csv
from pipeline.control.config import ControlConfig
from pipeline.control.extra import require_extra
from pipeline.errors import UserError
from pipeline.run import next_command
from pipeline.run.atomic_files import write_atomically
from pipeline.run.extension import Extension, StageFunctions
from pipeline.run.run_folder import RunFolder
from stages.control.ask_page import ask_people  # registers the kind of judgment, which every command needs

_log = logging.getLogger(__name__)


def rounds(
    config: ControlConfig,
    functions: StageFunctions,
    *,
    count: int | None = None,
    replay: bool = False,
    seeds: int | None = None,
) -> str:
    """`rounds`: learn from preferences, for one seed or several."""
    require_extra()
    from stages.control.card import write_card
    from stages.control.run import run
    from stages.control.seeds import run_seeds, table

    if replay:
        raise UserError("REPLAY: rounds of control tasks are not replayed; the same seed and settings repeat them")
    if count is not None:
        config = with_rounds(config, count)
    if seeds and seeds > 1:
        rows = run_seeds(config, seeds, _log.info)
    else:
        rows = [run(config, _log.info, partial(ask_people, ask_about=functions.ask_about))]
    write_card(config, functions)
    where = config.runs / config.name / "rounds" / "rounds.csv"
    return (
        f"{table(rows)}\nthe table of all rounds is {where}; `{next_command.make('report')}` draws it\n"
        f"the reward model's card is {config.runs / config.name / 'reward' / 'card.html'}"
    )


def with_rounds(config: ControlConfig, count: int) -> ControlConfig:
    changed = config.rounds.model_copy(update={"count": count})
    return config.model_copy(update={"rounds": changed})


def report(config: ControlConfig, functions: StageFunctions, *, runs: str = "") -> str:
    """`report`: one page about the run and its other seeds."""
    from stages.control.report import write_report

    if runs:
        raise UserError("RUNS: reports of several control tasks side by side are not made; name one configuration")
    return f"report in {write_report(config)}"


def stats(
    config: ControlConfig,
    functions: StageFunctions,
    *,
    fast_ms: int = agreement.FAST_MS,
    csv_file: Path | None = None,
    json_file: Path | None = None,
) -> str:
    """`feedback stats`: the quality of the judgments."""
    store = RunFolder(config).open_store()
    quality = store.quality(None, fast_ms)
    if not len(quality.questions):
        raise UserError(f"{store.location}: no judgments; run `{next_command.make('rounds')}` first")
    if csv_file:
        for name, frame in (("questions", quality.questions), ("annotators", quality.annotators)):
            guarded: pd.DataFrame = plain_csv.guarded_frame(frame)
            write_atomically(csv_file.with_name(f"{csv_file.stem}.{name}.csv"), guarded.to_csv(index=False).encode())
    if json_file:
        write_atomically(json_file, (json.dumps(agreement.as_json(quality), indent=2) + "\n").encode())
    return agreement.as_text(quality)


def check(config: ControlConfig, functions: StageFunctions, **options: Any) -> str:
    """`feedback check`: read every stored row."""
    store = RunFolder(config).open_store()
    copies = store.accept() if options.get("accept") else []
    return "\n".join([*(f"copied to {copy}" for copy in copies), f"{store.check()} valid rows in {store.location}"])


EXTENSION = Extension(
    "a control task",
    ControlConfig,
    {"rounds": rounds, "report": report, "feedback stats": stats, "feedback check": check},
)
