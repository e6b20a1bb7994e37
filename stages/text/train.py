"""`make train-reward` for texts: a reward model r(text) of comparisons, and its card.

The likelihood is that of images' comparisons: Bradley-Terry, with Davidson's ties where there are some (docs/method.md 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.learning.reward_card import CardItems, Evaluated
from pipeline.run import next_command
from pipeline.run.checkpoints import Checkpoints
from pipeline.run.extension import StageFunctions
from pipeline.run.run_folder import RunFolder
from pipeline.run.runtime import start
from pipeline.run.stage_lock import one_process
from pipeline.text.config import TextConfig
from pipeline.text.encoder import TextEncoder, cached_embeddings, load_encoder
from pipeline.text.kind import BETTER
from pipeline.text.reward_model import TextRewardModel
from pipeline.text.table import TextTable
from pipeline.tracking.metrics_log import Metrics
from stages.text.fine_tune import fine_tune
from stages.text.text_run import open_text_run

MODEL, CARD = "model.safetensors", "card.json"
OUTPUTS = (MODEL, "metrics.csv", CARD, "card.html")
MAX_SHOWN = 160  # characters of a text on the card


def train_reward(config: TextConfig, functions: StageFunctions, *, force: bool = False) -> str:
    """Train runs/<name>/reward/ unless it is up to date; returns what is printed."""
    changed = run(config, functions, force)
    note = "" if changed else f"  (up to date; `{next_command.make('train-reward')} FORCE=1` runs it again)"
    return functions.describe_reward(RunFolder(config).write_summary()) + note


@one_process("reward")
def run(config: TextConfig, functions: StageFunctions, force: bool = False) -> bool:
    """Train the reward model; returns False if it is up to date.

    Raises:
        UserError: no judgments, an encoder that cannot be read, or training diverged.
    """
    stage = RunFolder(config).stage("reward")
    texts = open_text_run(config)
    store, table = texts.store.snapshot(), texts.table  # people may go on answering
    if store.is_empty():
        raise UserError(
            f"no judgments: {store.location}; set items.csv, run `image-rlhf feedback import FILE`, or "
            f"`{next_command.make('collect')}` (run '{config.name}')"
        )
    runtime = start(config.runtime)
    if runtime.world > 1:
        raise UserError("texts: training runs in one process; start it without torchrun")
    encoder = load_encoder(config.model).to(runtime.device)
    inputs = {"encoder": encoder.fingerprint(), "texts": table.fingerprint, **store.fingerprint()}
    checkpoints = stage.checkpoints(inputs, "epoch", runtime, force)
    if stage.is_current(inputs) and not force:
        checkpoints.clear()
        return False
    judgments = functions.read_judgments(store, table.position, (BETTER,), config.reward.objective)
    stage.begin()
    with stage.metrics(inputs, runtime) as metrics:
        model, evaluated = _trained(config, functions, encoder, table, judgments, metrics, checkpoints)
    model.save(stage.path / MODEL)
    summary = functions.write_card(stage.path, _card_items(config, table), evaluated, judgments)
    stage.finish(inputs, OUTPUTS, {"reward": summary})
    checkpoints.clear()
    return True


def _trained(
    config: TextConfig,
    functions: StageFunctions,
    encoder: TextEncoder,
    table: TextTable,
    judgments: Any,
    metrics: Metrics,
    checkpoints: Checkpoints,
) -> tuple[TextRewardModel, Evaluated]:
    """The reward model and its evaluation, by linear heads on fixed embeddings or by training the encoder."""
    fingerprint, pessimism = encoder.fingerprint(), config.reward.pessimism
    if config.model.trainable == "head":
        x = cached_embeddings(encoder, table, RunFolder(config).cache)
        fitted = functions.fit_heads(x, judgments, config.reward, config.seed, metrics)
        utilities = torch.stack([x @ weight.T + bias for weight, bias in fitted.heads])
        heads, encoders, evaluated = fitted.heads, list[dict[str, Tensor]](), fitted.evaluated
    else:
        tuned = fine_tune(config, functions, encoder, table.texts, judgments, metrics, checkpoints)
        heads, encoders, evaluated = tuned.heads, tuned.encoders, tuned.evaluated
        utilities = torch.stack(list(evaluated.heldout_utilities))
    _check(utilities)
    mean = float(utilities.mean(0)[judgments.images].mean())
    model = TextRewardModel(encoder, heads, encoders, fingerprint=fingerprint, mean=mean, pessimism=pessimism)
    return model, evaluated


def _check(utilities: Tensor) -> None:
    if not bool(torch.isfinite(utilities).all()):
        raise UserError("reward.lr: training diverged (utilities are NaN or Inf); lower it")
    if not float(utilities.std()) > 0:
        raise UserError(
            "the reward model gives every text the same score: the judgments do not distinguish them; import or collect more"
        )


def _card_items(config: TextConfig, table: TextTable) -> CardItems:
    """What the card needs to know of the run and its texts."""

    def describe(rows: Tensor, classes: Tensor, answer: int) -> str:
        a, b = (shortened(table.texts[int(row)]) for row in rows[:2])
        better, other = (b, a) if answer == 1 else (a, b)
        return (
            f'"{a}" and "{b}" were judged equally good'
            if answer == 2
            else f'"{better}" was judged better than "{other}"'
        )

    blank: Sequence[str] = [""] * len(table)
    return CardItems(
        config.name, config.seed, config.reward, (BETTER,), table.ids, blank, item="text", describe=describe
    )


def shortened(text: str) -> str:
    """A text in one line of at most MAX_SHOWN characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_SHOWN else f"{line[: MAX_SHOWN - 1]}…"
