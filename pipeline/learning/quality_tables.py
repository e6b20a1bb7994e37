"""Statistics of stored judgments, with people's seconds: as text, and as CSV and JSON files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from feedback_store import agreement
from feedback_store.exchange import plain_csv
from pipeline.learning.person_seconds import TIMES_COLUMNS, PersonSeconds, times_json, times_text
from pipeline.run.atomic_files import write_atomically


def report_quality(
    quality: agreement.Quality, seconds: Sequence[PersonSeconds], csv_file: Path | None, json_file: Path | None
) -> str:
    """The tables as text.

    Args:
        csv_file: also write NAME.questions.csv, NAME.annotators.csv and NAME.response_times.csv.
        json_file: also write everything as JSON.
    """
    if csv_file:
        times = pd.DataFrame([row for one in seconds for row in one.by_kind()], columns=list(TIMES_COLUMNS))
        tables = {"questions": quality.questions, "annotators": quality.annotators, "response_times": times}
        for name, frame in tables.items():
            text = plain_csv.guarded_frame(frame).to_csv(index=False)
            write_atomically(csv_file.with_name(f"{csv_file.stem}.{name}.csv"), text.encode())
    if json_file:
        everything = agreement.as_json(quality) | {"response_times": times_json(seconds)}
        write_atomically(json_file, (json.dumps(everything, indent=2) + "\n").encode())
    return f"{agreement.as_text(quality)}\n\n{times_text(seconds)}"
