"""The facts in the model card, gathered from the results of the run's stages; nothing is evaluated again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from feedback_store import agreement
from feedback_store.audit import base_source
from feedback_store.store import FeedbackStore
from pipeline.data.gold_labels import GoldLabels, read_gold_labels
from pipeline.learning.person_seconds import duration, person_seconds
from pipeline.learning.statistics import expected_calibration_error, is_uniform, wilson_interval
from pipeline.models.policy import log_policy
from pipeline.run.rounds_file import read_rounds
from pipeline.run.workspace import Workspace
from pipeline.ui.card_plots import calibration_doubts

AUTOMATIC_SOURCES = ("simulated", "replay")  # sources of judgments that no person gave for this run


@dataclass(frozen=True)
class Share:
    """A proportion with its 95 % Wilson interval."""

    value: float
    low: float
    high: float
    total: int

    @classmethod
    def of(cls, successes: int, total: int) -> Share:
        return cls(successes / total, *wilson_interval(successes, total), total)


def gather(ws: Workspace, policy: Path, weights: str) -> dict[str, Any]:
    """The variables of the template.

    Args:
        policy: the policy's file.
        weights: hash of its weights.
    """
    run = ws.run
    results = {
        stage: run.read(stage, "result.json", key)[key]
        for stage, key in (("reference", "reference"), ("reward", "reward"), ("ppo", "policy"))
    }
    card = run.read("reward", "card.json")
    gold = read_gold_labels(ws.table, ws.classes)
    evaluation = ws.table.rows("evaluation")
    known = evaluation[gold.known[evaluation]]
    return {
        "name": ws.config.name,
        "seed": ws.config.seed,
        "classes": list(ws.classes),
        "backbone": ws.config.model.backbone,
        "trainable": ws.config.model.trainable,
        "size": ws.transform.size,
        "resize": ws.transform.resize,
        "weights": weights,
        "images": {split: len(ws.table.rows(split)) for split in ("train", "val", "test")},
        "evaluated": len(known),
        "reference": results["reference"],
        "reference_words": origin(ws, results["reference"]["labelled_images"]),
        "uniform_reference": is_uniform(ws.log_reference[evaluation]),
        "reward": card,
        "doubts": calibration_doubts(card),
        "policy": results["ppo"],
        "estimator": results["ppo"]["estimator"],
        "judgments": judgments(run.open_store(), len(ws.classes)),
        "rounds": read_rounds(run.path),
        "accuracy": accuracies(results, len(known)) if len(known) else None,
        **(on_gold(policy_scores(ws, policy), gold, known) if len(known) else {"ece": None, "by_class": []}),
        "torch": torch.__version__,
    }


def origin(ws: Workspace, labelled: int) -> str:
    """The origin of the reference, from its stage's manifest, as a part of a sentence."""
    if labelled:
        return f"trained on {labelled} labelled images"
    if "checkpoint" in ws.run.read("reference", "manifest.json", "inputs")["inputs"]:
        return "that was trained elsewhere (reference.checkpoint)"
    return "that is uniform (every class equally probable)"


def accuracies(results: dict[str, Any], total: int) -> dict[str, Share]:
    """Accuracy on the evaluation images of the reference, the argmax of the reward and the policy, from the stages' results."""
    values = {
        "reference": results["reference"]["accuracy"],
        "reward": results["reward"]["argmax_accuracy"],
        "policy": results["ppo"]["accuracy"],
    }
    return {name: Share.of(round(value * total), total) for name, value in values.items() if value is not None}


def policy_scores(ws: Workspace, policy: Path) -> Tensor:
    """log pi [N, C] of every image, from the cache that PPO's evaluation filled."""
    return log_policy(ws.scores(*ws.cut(ws.load_policy(policy))))


def on_gold(log_pi: Tensor, gold: GoldLabels, known: np.ndarray) -> dict[str, Any]:
    """The policy's calibration error, and its accuracy per class.

    Args:
        known: rows of the evaluation images whose class is known.
    """
    labels = gold.labels[known]
    right = log_pi[known].argmax(-1).numpy() == labels
    by_class = [
        (name, Share.of(int(right[labels == number].sum()), int((labels == number).sum())))
        for number, name in enumerate(gold.classes)
        if (labels == number).any()
    ]
    return {"ece": expected_calibration_error(log_pi[known], torch.from_numpy(labels)), "by_class": by_class}


def judgments(store: FeedbackStore, classes: int) -> dict[str, Any]:
    """Counts, cost, agreement and sources of the judgments. Without annotators' names, since the card may be published.

    Args:
        classes: number of classes, for the expected seconds of answers that were not timed.
    """
    pairs, per_image = store.comparisons(), store.per_image_judgments()
    sources = [*pairs["source"], *per_image["source"]]
    return {
        "total": len(sources),
        "annotators": len(set(pairs["annotator"]) | set(per_image["annotator"])),
        "kinds": agreement.as_json(store.quality())["questions"],
        "sources": {name: sources.count(name) for name in sorted(set(sources))},
        "times": [
            {"duration": duration(one.total), "simulated": one.simulated}
            for one in person_seconds([pairs, per_image], classes)
        ],
        "automatic": sum(base_source(source) in AUTOMATIC_SOURCES for source in sources),
    }
