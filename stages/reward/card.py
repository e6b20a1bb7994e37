"""The reward model's card: what it was trained on, how good it is on what it has not seen, and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.models.reward_model import RewardModel
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from pipeline.ui.card_plots import drawn
from pipeline.ui.html import render, thumbnail
from stages.reward.card_verdict import GAIN, WIDE, more_judgments, next_hundred, verdict
from stages.reward.evaluate import (
    Predictions,
    accuracy_interval,
    breakdown,
    calibrated,
    calibration,
    ceiling,
    chance,
    predict,
)
from stages.reward.fit import Member
from stages.reward.judgment_set import JudgmentSet

UNRELIABLE = 0.7  # eta below which an annotator is flagged
SURPRISING = 12


def make_card(
    ws: Workspace,
    model: RewardModel,
    members: Sequence[Member],
    utilities: Sequence[Tensor],
    heldout: JudgmentSet,
    judgments: JudgmentSet,
    curve: list[dict[str, float]],
    argmax_accuracy: float | None,
) -> dict[str, Any]:
    """Everything on the card, as it is saved in card.json.

    Args:
        utilities: [N, C] of all images, one a member.
        curve: the learning curve, the last point with all judgments.
    """
    images = heldout.images
    seen = [u[images] for u in utilities]
    raw = predict(members, seen, images, heldout)
    cool, temperature, fitted_on = calibrated(
        members, seen, images, heldout, generator(ws.config.seed, Stream.CARD_CALIBRATION)
    )
    accuracy, low, high = accuracy_interval(raw.correct, raw.image)
    measured = {
        "judgments": len(raw.answer),
        "images": len(images),
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "chance": chance(heldout),
        "log_loss": _log_loss(raw),
        "log_loss_calibrated": _log_loss(cool),
    }
    gain, more = next_hundred(curve), more_judgments(measured, curve, len(judgments))
    settings = ws.config.reward
    return {
        "verdict": verdict(measured, gain, more),
        "run": ws.config.name,
        "judgments": {
            "used": len(judgments),
            "more": more,
            "of_missing_images": judgments.unknown,
            "images": len(judgments.images),
            "kinds": {likelihood.name: len(own) for _, likelihood, own in judgments.by_likelihood()},
        },
        "heldout": measured,
        "ceiling": ceiling(judgments),
        "calibration": {
            "before": calibration(raw),
            "after": calibration(cool),
            "temperature": temperature,
            "fitted_on": fitted_on,
        },
        "by": breakdown(raw, heldout, ws.classes),
        "annotators": _annotators(members, judgments),
        "learned": _learned(model, members, judgments),
        "curve": {"points": curve, "gain_of_next_100": gain},
        "gold": {"argmax_accuracy": argmax_accuracy},
        "scores": _scores(model.rewards(utilities, ws.log_reference), heldout),
        "surprising": _surprising(ws, raw, heldout, members, seen),
        "settings": {
            "objective": settings.objective,
            "members": settings.members,
            "pessimism": settings.pessimism,
            "start": settings.start,
            "rating": settings.rating,
            "seed": ws.config.seed,
        },
        "thresholds": {"interval_half_width": WIDE, "gain_of_next_100": GAIN, "unreliable_eta": UNRELIABLE},
    }


def _log_loss(p: Predictions) -> float:
    return float(-np.log(np.maximum(p.probability, 1e-12)).mean())


def _annotators(members: Sequence[Member], judgments: JudgmentSet) -> list[dict[str, Any]]:
    counts = judgments.annotator.bincount(minlength=len(judgments.annotators)).tolist()
    learned = members[0].latent.reliability
    eta = torch.stack([member.latent.eta.detach() for member in members]).mean(0).tolist()
    return [
        {
            "name": name,
            "judgments": count,
            "reliability": value if learned else None,
            "flagged": learned and value < UNRELIABLE,
        }
        for name, count, value in zip(judgments.annotators, counts, eta, strict=True)
    ]


def _learned(model: RewardModel, members: Sequence[Member], judgments: JudgmentSet) -> dict[str, Any]:
    parameters = members[0].latent.of
    found = {"scale": float(model.scale * model.scales.mean()), "tie": float(model.tie)}
    for likelihood in judgments.likelihoods:
        found |= likelihood.summary(parameters[likelihood.name])
    return found | {"epochs": [member.epoch for member in members]}


def _scores(rewards: Tensor, judgments: JudgmentSet) -> list[dict[str, Any]]:
    """For each kind and answer, the rewards that the answer is about: what the score histograms show."""
    found = []
    for number, likelihood, own in judgments.by_likelihood():
        groups = likelihood.histograms(rewards, own.rows, own.classes, own.answer, answers=own.answers[number])
        value = torch.cat(list(groups.values()))
        low, high = (float(v) for v in np.quantile(value.numpy(), [0.005, 0.995]))
        edges = np.linspace(low, max(high, low + 1e-6), 31)
        counts = {
            name: np.histogram(np.clip(v.numpy(), low, high), edges)[0].tolist() for name, v in groups.items() if len(v)
        }
        found.append(
            {"kind": likelihood.name, "axis": likelihood.reward_axis, "edges": edges.tolist(), "counts": counts}
        )
    return found


def _surprising(
    ws: Workspace, p: Predictions, heldout: JudgmentSet, members: Sequence[Member], utilities: Sequence[Tensor]
) -> list[dict[str, Any]]:
    """The held-out judgments that the model disagrees with, the least likely first, one an image."""
    ordered = heldout.pick(
        torch.cat([torch.nonzero(heldout.kind == kind).flatten() for kind in heldout.kind.unique().tolist()])
    )
    found: list[dict[str, Any]] = []
    seen: set[int] = set()
    for place in np.argsort(p.probability, kind="stable"):
        row = int(ordered.rows_a[place])
        if not p.correct[place] and row not in seen and len(found) < SURPRISING:
            seen.add(row)
            found.append(
                {
                    "image": str(ws.table.ids[row]),
                    "path": str(ws.table.paths[row]),
                    "annotator": ordered.annotators[int(ordered.annotator[place])],
                    "text": _in_words(ordered, int(place), ws.classes),
                    "probability": float(p.probability[place]),
                }
            )
    return found


def _in_words(j: JudgmentSet, place: int, classes: Sequence[str]) -> str:
    number = int(j.kind[place])
    return j.likelihoods[number].describe(
        j.rows[place], j.classes[place], int(j.answer[place]), classes, answers=j.answers[number]
    )


def card_html(ws: Workspace, card: dict[str, Any]) -> str:
    """The card as one self-contained page."""
    limit = ws.config.images.max_pixels
    pictures = {item["image"]: thumbnail(ws.table, item["image"], limit) for item in card["surprising"]}
    return render(Path(__file__).parent, "card.html.jinja", card=card, drawn=drawn(card), thumbnails=pictures)
