"""Reward models of texts, trained on planted preferences by the real command line."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.text_runs import (
    configuration,
    planted_csv,
    possible_agreement,
    sentences,
    utility,
    write_csv,
)

from feedback_store.csv_store.store import CsvFeedbackStore
from pipeline.config import load_settings
from pipeline.errors import Stopped
from pipeline.run.atomic_files import read_json
from pipeline.run.runtime import Stream, generator
from pipeline.text.config import TextConfig
from pipeline.text.kind import BETTER
from pipeline.text.table import read_table
from stages.cli.extensions import stage_functions
from stages.text import fine_tune, train

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def configured(tmp_path: Path, encoder: Path) -> Callable[..., Path]:
    """A configuration of `items.csv`, the tiny encoder, and further settings of `model` and `reward`."""

    def made(file: Path, model: str = "", reward: str = "") -> Path:
        return configuration(
            tmp_path,
            items=f"items: {{source: text_pairs, csv: {file}}}",
            model=f"model: {{encoder: {encoder}{model}}}",
            reward=f"reward: {{curve: []{reward}}}",
        )

    return made


def ranked(path: Path) -> dict[str, float]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["text"]: float(row["score"]) for row in csv.DictReader(file)}


def correlation(scores: dict[str, float]) -> float:
    return float(np.corrcoef([utility(text) for text in scores], list(scores.values()))[0, 1])


def test_a_head_learns_and_ranks_new_texts(call: Call, tmp_path: Path, configured: Callable[..., Path]) -> None:
    """Fails if labels are flipped or the titles swapped: the correlation with the planted utility would be negative."""
    planted_csv(tmp_path / "feedback.csv", 150)
    path = configured(tmp_path / "feedback.csv", reward=", members: 2, prior_sd: 10")
    code, text = call("train-reward", "--config", path)
    assert code == 0, text
    run = tmp_path / "runs" / "texts"
    card = read_json(run / "reward" / "card.json")
    assert card["heldout"]["judgments"] == 150
    assert card["heldout"]["accuracy"] > 0.72
    page = (run / "reward" / "card.html").read_text(encoding="utf-8")
    assert "150 judgments of 300 texts" in page
    assert "was judged better than" in page
    assert "Argmax" not in page
    assert "image" not in page.partition("<body")[2].replace('class="images"', "")
    assert "up to date" in call("train-reward", "--config", path)[1]

    new = sentences(40, seed=7)
    (tmp_path / "new.txt").write_text("\n".join(new) + "\n", encoding="utf-8")
    code, text = call("rank", tmp_path / "new.txt", "--config", path)
    assert (code, "40 texts, the best first; score and 95 % interval" in text) == (0, True), text
    scores = ranked(run / "rank" / "ranking.csv")
    assert set(scores) == set(new)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert correlation(scores) > 0.75
    code, _ = call(
        "rank",
        write_csv(tmp_path / "n.csv", [("n", "title"), ("1", new[0])]),
        "--output",
        tmp_path / "o.csv",
        "--config",
        path,
    )
    assert (code, list(ranked(tmp_path / "o.csv"))) == (0, [new[0]])
    planted_csv(tmp_path / "feedback.csv", 151)
    assert "up to date" not in call("train-reward", "--config", path)[1], "new judgments"


def test_ties_are_learned_from(call: Call, tmp_path: Path, configured: Callable[..., Path]) -> None:
    """Without the ties, Davidson's nu would be 0 and fewer judgments would be used."""
    rows = planted_csv(tmp_path / "feedback.csv", 120, tie=0.9)
    ties = sum(label == "tie" for _, _, label in rows)
    assert ties > 20
    path = configured(tmp_path / "feedback.csv", reward=", prior_sd: 5")
    assert call("train-reward", "--config", path)[0] == 0
    card = read_json(tmp_path / "runs" / "texts" / "reward" / "card.json")
    assert card["judgments"]["used"] == 120
    assert sum(card["scores"][0]["counts"]["tie"]) == ties
    assert card["learned"]["tie"] > 0.1


@pytest.mark.parametrize("model", ["", ", trainable: all"])
def test_too_few_judgments_are_said_so(call: Call, tmp_path: Path, configured: Callable[..., Path], model: str) -> None:
    write_csv(tmp_path / "feedback.csv", [("Title1", "Title2", "Label"), ("x", "y", "1"), ("y", "z", "2")])
    code, text = call("train-reward", "--config", configured(tmp_path / "feedback.csv", model=model))
    assert (code, "too few judgments: some must be held out whose items are in no other judgment" in text) == (2, True)


def trained(path: Path) -> Any:
    config = load_settings(TextConfig, path)
    train.run(config, stage_functions())
    return (config.runs / config.name / "reward" / "model.safetensors").read_bytes()


TUNED = {
    "model": ", trainable: all",
    "reward": ", members: 2, epochs: 3, batch_size: 8, lr: 1e-3, heldout_fraction: 0.3",
}


@pytest.mark.long
def test_training_of_the_encoder_resumes_with_the_same_bits(
    tmp_path: Path, configured: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted_csv(tmp_path / "feedback.csv", 60)
    path = configured(tmp_path / "feedback.csv", **TUNED)
    path.write_text(path.read_text() + "runtime: {checkpoint_seconds: 0}\n")
    whole = trained(path)
    other = path.with_name("other.yaml")
    other.write_text(path.read_text() + "name: other\n")
    real, epochs = fine_tune._train_epoch, []

    def stopping(*arguments: Any) -> float:
        if len(epochs) == 4:  # in the second member's second epoch
            raise KeyboardInterrupt
        epochs.append(real(*arguments))
        return epochs[-1]

    with monkeypatch.context() as patched:
        patched.setattr(fine_tune, "_train_epoch", stopping)
        with pytest.raises(Stopped, match="after member-1 epoch 1"):
            trained(other)
    assert trained(other) == whole
    metrics = [(tmp_path / "runs" / name / "reward" / "metrics.csv").read_text() for name in ("texts", "other")]
    assert metrics[0] == metrics[1]
    assert len(metrics[0].splitlines()) == 7


def test_a_trained_encoder_ranks_as_it_was_trained(
    call: Call, tmp_path: Path, configured: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder of the file is used, not the one that training started from; every member starts from that one."""
    real, started_from = fine_tune._fit, []

    def fitting(config: Any, functions: Any, encoder: Any, *more: Any) -> Any:
        started_from.append(encoder.fingerprint())
        return real(config, functions, encoder, *more)

    monkeypatch.setattr(fine_tune, "_fit", fitting)
    rows = planted_csv(tmp_path / "feedback.csv", 60)
    path = configured(tmp_path / "feedback.csv", **TUNED)
    assert call("train-reward", "--config", path)[0] == 0
    assert len(started_from) == 2
    assert len(set(started_from)) == 1
    run = tmp_path / "runs" / "texts"
    texts = [text for row in rows for text in row[:2]]
    (tmp_path / "seen.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    assert call("rank", tmp_path / "seen.txt", "--config", path)[0] == 0
    scores = ranked(run / "rank" / "ranking.csv")
    assert correlation(scores) > 0.5
    assert abs(np.mean(list(scores.values()))) < 1e-4, "0 is the average text that was judged"


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agreement_is_close_to_what_is_possible(
    call: Call, tmp_path: Path, configured: Callable[..., Path], seed: int
) -> None:
    """Answers have the noise of Bradley and Terry's model: the planted preference itself agrees with nine in ten."""
    planted_csv(tmp_path / "feedback.csv", 1200, noisy=True, seed=100 * seed)
    settings = ", epochs: 15, lr: 5e-4, heldout_fraction: 0.2"
    path = configured(tmp_path / "feedback.csv", model=", trainable: all", reward=settings)
    path.write_text(path.read_text() + f"seed: {seed}\n")
    assert call("train-reward", "--config", path)[0] == 0
    run = tmp_path / "runs" / "texts"
    table, functions = read_table(run), stage_functions()
    judgments = functions.read_judgments(CsvFeedbackStore(run / "feedback"), table.position, (BETTER,), "bradley_terry")
    _, heldout = functions.split(judgments, 0.2, generator(seed, Stream.HELDOUT_SPLIT))
    answers = [("1", "2", "tie")[answer] for answer in heldout.answer.tolist()]
    pairs = [tuple(table.texts[row] for row in rows) for rows in heldout.rows.tolist()]
    possible = possible_agreement([(a, b, label) for (a, b), label in zip(pairs, answers, strict=True)])
    card = read_json(run / "reward" / "card.json")
    print(f"seed {seed}: agreement {card['heldout']['accuracy']:.3f}, possible {possible:.3f}")
    assert card["heldout"]["judgments"] == len(heldout) == 240
    assert 0.8 < possible < 0.97
    assert card["heldout"]["accuracy"] >= 0.95 * possible
