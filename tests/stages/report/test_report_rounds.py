"""Rounds in the report: the sentence, the table, the plots, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.report_runs import copied, figures_of, page_of

from feedback_store.records import verdict
from feedback_store.store import FeedbackStore
from pipeline.config import Config
from pipeline.run.rounds_file import write_rounds
from stages.report import run as report
from stages.report.round_charts import round_plots, seconds_axis
from stages.report.round_summary import cost_sentence, round_times, rounds_sentence

ROWS: list[dict[str, Any]] = [
    {"round": 0, "answers": 20, "simulated_seconds": 90.0, "heldout_accuracy": 0.6, "reward_accuracy": 0.7}
    | {"accuracy": 0.71, "J": 0.1, "J_star": 0.12, "attained": 0.9, "kl": 0.2, "beta": 1.0},
    {"round": 1, "answers": 45, "simulated_seconds": 200.4, "heldout_accuracy": 0.8, "reward_accuracy": 0.8}
    | {"accuracy": 0.83, "J": 0.3, "J_star": 0.31, "attained": 0.95, "kl": 0.3, "beta": 1.0},
]


def without(*columns: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in columns} for row in ROWS]


def test_the_sentence_says_what_time_bought() -> None:
    said = rounds_sentence(ROWS).replace("\u00a0", " ")
    assert said.startswith("2 rounds: 45 answers in about 3 min of simulated people's time.")
    assert said.endswith("The policy's accuracy was 71.0 % after 20 answers, and is 83.0 % after all.")
    people = [{**row, "simulated_seconds": None, "seconds": 4000.0} for row in ROWS]
    assert "about 1 h 7 min of people's time" in rounds_sentence(people)
    assert "is unknown without labelled evaluation images" in rounds_sentence(without("accuracy"))
    assert rounds_sentence(ROWS[:1]).replace("\u00a0", " ").startswith("1 round: 20 answers")


def test_times_have_one_unit() -> None:
    assert round_times(ROWS) == ["90 s", "200 s"]
    assert seconds_axis(ROWS) == ([90.0, 200.4], "seconds of simulated people")
    longer = [{**row, "simulated_seconds": 10 * row["simulated_seconds"]} for row in ROWS]
    assert round_times(longer) == ["15.0 min", "33.4 min"]
    assert seconds_axis(longer) == ([15.0, pytest.approx(33.4)], "minutes of simulated people")
    assert seconds_axis(without("simulated_seconds")) == ([20.0, 45.0], "answers")
    assert round_times(without("simulated_seconds")) == []


@pytest.mark.draws
def test_plots_have_what_is_known() -> None:
    plots = dict(round_plots(ROWS))
    assert list(plots) == ["Accuracy, by people's time", "Objective J, by people's time", "New answers in each round"]
    accuracy = plots["Accuracy, by people's time"]
    assert all(text in accuracy for text in ("aligned policy", "reward model alone", "answers so far"))
    assert ">25<" in plots["New answers in each round"], "45 - 20"
    no_gold = dict(round_plots([{**row, "accuracy": None} for row in ROWS]))
    assert "held-out answers predicted" in no_gold["Agreement, by people's time"]
    assert len(round_plots(without("J", "J_star", "accuracy", "reward_accuracy", "heldout_accuracy"))) == 1
    assert len(round_plots(ROWS[:1])) == 3


def test_the_page_of_a_run_with_rounds(finished: Config) -> None:
    config = copied(finished, "with-rounds")
    write_rounds(config.runs / config.name, pd.DataFrame(ROWS))
    report.run(config)
    made, text = figures_of(config), page_of(config).read_text()
    assert made["rounds"] == ROWS
    assert made["judged"]["cost"].startswith("They cost about ")
    assert made["judged"]["cost"] in text.replace("&#39;", "'")
    assert '<a href="#rounds">Rounds</a>' in text
    assert "<td>200 s</td>" in text
    plain = copied(finished, "without-rounds")
    report.run(plain)
    assert "#rounds" not in page_of(plain).read_text()


def test_people_and_simulated_teachers_cost_apart(tmp_path: Path) -> None:
    store = FeedbackStore.open("csv", tmp_path)
    assert cost_sentence(store, 10) == ""
    for number, source in enumerate(("web", "simulated", "simulated:audit")):
        store.append([verdict(f"img-{number}", "ant", "yes", annotator="ann", source=source, response_ms=30_000)])
    said = cost_sentence(store, 10)
    assert said == "They cost about 30 s of people's time and about 1 min of simulated people's time."
