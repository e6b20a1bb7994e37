"""The reward model's card: its training data, its evaluation on held-out judgments, and a verdict (docs/method.md 8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.learning.reward_card import CardItems, Evaluated
from pipeline.run.atomic_files import write_atomically, write_json
from pipeline.run.runtime import Stream, generator
from pipeline.ui.card_plots import draw_card_plots
from pipeline.ui.html import render
from stages.reward.card_verdict import MAX_HALF_WIDTH, MIN_GAIN, estimate_gain, estimate_more_judgments, verdict
from stages.reward.evaluate import (
    Predictions,
    accuracy_interval,
    breakdown,
    calibration,
    ceiling,
    chance,
    predict,
    predict_calibrated,
)
from stages.reward.judgment_set import JudgmentSet

MIN_RELIABILITY = 0.7  # eta below which an annotator is flagged
MAX_SURPRISING = 12  # held-out judgments listed that the model disagrees with


def make_card(
    items: CardItems,
    trained: Evaluated,
    judgments: JudgmentSet,
    *,
    argmax_accuracy: float | None = None,
    kl_weight: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything on the card, as it is saved in card.json.

    Args:
        judgments: all that were used.
        argmax_accuracy: of the class of the highest utility, where classes are known.
        kl_weight: beta and the table it was chosen from, as `kl_weight.choose` returns it.
    """
    members, heldout, curve = trained.members, trained.heldout, trained.curve
    images = heldout.images
    heldout_utilities = [u[images] for u in trained.heldout_utilities]
    raw = predict(members, heldout_utilities, images, heldout)
    scaled, temperature, fitted_on = predict_calibrated(
        members, heldout_utilities, images, heldout, random=generator(items.seed, Stream.CARD_CALIBRATION)
    )
    accuracy, low, high = accuracy_interval(raw.correct, raw.image)
    heldout_metrics = {
        "judgments": len(raw.answer),
        "images": len(images),
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "chance": chance(heldout),
        "log_loss": _log_loss(raw),
        "log_loss_calibrated": _log_loss(scaled),
        "folds": trained.folds,
    }
    gain, more = estimate_gain(curve), estimate_more_judgments(heldout_metrics, curve, len(judgments))
    settings = items.settings
    return {
        "verdict": verdict(heldout_metrics, gain, more),
        "run": items.run,
        **({"item": items.item} if items.item != "image" else {}),
        "judgments": {
            "used": len(judgments),
            "more": more,
            "of_missing_images": judgments.unknown,
            "images": len(judgments.images),
            "kinds": {likelihood.name: len(own) for _, likelihood, own in judgments.by_likelihood()},
        },
        "heldout": heldout_metrics,
        "ceiling": ceiling(judgments),
        "calibration": {
            "before": calibration(raw),
            "after": calibration(scaled),
            "temperature": temperature,
            "fitted_on": fitted_on,
        },
        "by": breakdown(raw, heldout, items.classes),
        "annotators": _annotators(members, judgments),
        "learned": _learned(trained, judgments),
        "curve": {"points": curve, "gain_of_next_100": gain},
        "kl_weight": kl_weight,
        "gold": {"argmax_accuracy": argmax_accuracy},
        "scores": _scores(trained.rewards, heldout),
        "surprising": _surprising(items, raw, heldout),
        "settings": {
            "objective": settings.objective,
            "members": settings.members,
            "pessimism": settings.pessimism,
            "scale": settings.scale,
            "start": settings.start,
            "prior_sd": trained.prior_sd,
            "unlabelled": trained.unlabelled,
            "rating": settings.rating,
            "seed": items.seed,
        },
        "thresholds": {
            "interval_half_width": MAX_HALF_WIDTH,
            "gain_of_next_100": MIN_GAIN,
            "unreliable_eta": MIN_RELIABILITY,
        },
    }


def _log_loss(p: Predictions) -> float:
    return float(-np.log(np.maximum(p.probability, 1e-12)).mean())


def _annotators(members: Sequence[Any], judgments: JudgmentSet) -> list[dict[str, Any]]:
    counts = judgments.annotator.bincount(minlength=len(judgments.annotators)).tolist()
    learned = members[0].latent.reliability
    eta = torch.stack([member.latent.eta.detach() for member in members]).mean(0).tolist()
    # Likelihoods with error rates have no reliability, and the other way round.
    rated = torch.tensor([likelihood.has_errors for likelihood in judgments.likelihoods])[judgments.kind]
    pages = judgments.annotator[rated].bincount(minlength=len(judgments.annotators)).tolist()
    each = [member.latent.error_rates() for member in members]
    rates = {name: torch.stack([one[name] for one in each]).mean(0).tolist() for name in each[0]}
    return [
        {
            "name": name,
            "judgments": count,
            "reliability": value if learned and count > pages[number] else None,
            "flagged": learned and value < MIN_RELIABILITY,
            **{rate: values[number] if pages[number] else None for rate, values in rates.items()},
        }
        for number, (name, count, value) in enumerate(zip(judgments.annotators, counts, eta, strict=True))
    ]


def _learned(trained: Evaluated, judgments: JudgmentSet) -> dict[str, Any]:
    parameters = trained.members[0].latent.of
    learned = {"scale": trained.scale, "tie": trained.tie}
    for likelihood in judgments.likelihoods:
        learned |= likelihood.summary(parameters[likelihood.name])
    return learned | {"epochs": [member.epoch for member in trained.members]}


def _scores(rewards: Tensor, judgments: JudgmentSet) -> list[dict[str, Any]]:
    """Histograms of the rewards that each kind of answer is about."""
    histograms = []
    for number, likelihood, own in judgments.by_likelihood():
        groups = likelihood.histograms(rewards, own.rows, own.classes, own.answer, answers=own.answers[number])
        value = torch.cat(list(groups.values()))
        low, high = (float(v) for v in np.quantile(value.numpy(), [0.005, 0.995]))
        edges = np.linspace(low, max(high, low + 1e-6), 31)
        counts = {
            name: np.histogram(np.clip(v.numpy(), low, high), edges)[0].tolist() for name, v in groups.items() if len(v)
        }
        histograms.append(
            {"kind": likelihood.name, "axis": likelihood.reward_axis, "edges": edges.tolist(), "counts": counts}
        )
    return histograms


def _surprising(items: CardItems, p: Predictions, heldout: JudgmentSet) -> list[dict[str, Any]]:
    """Held-out judgments that the model disagrees with, the least probable first, one per item."""
    ordered = heldout.pick(
        torch.cat([torch.nonzero(heldout.kind == kind).flatten() for kind in heldout.kind.unique().tolist()])
    )
    listed: list[dict[str, Any]] = []
    seen: set[int] = set()
    for place in np.argsort(p.probability, kind="stable"):
        row = int(ordered.rows_a[place])
        if not p.correct[place] and row not in seen and len(listed) < MAX_SURPRISING:
            seen.add(row)
            listed.append(
                {
                    "image": str(items.ids[row]),
                    "path": str(items.captions[row]),
                    "annotator": ordered.annotators[int(ordered.annotator[place])],
                    "text": _in_words(items, ordered, int(place)),
                    "probability": float(p.probability[place]),
                }
            )
    return listed


def _in_words(items: CardItems, j: JudgmentSet, place: int) -> str:
    rows, classes, answer, number = j.rows[place], j.classes[place], int(j.answer[place]), int(j.kind[place])
    if items.describe:
        return items.describe(rows, classes, answer)
    return j.likelihoods[number].describe(rows, classes, answer, items.classes, answers=j.answers[number])


def summarise(card: dict[str, Any]) -> dict[str, Any]:
    """The card's entries in summary.json."""
    heldout, learned = card["heldout"], card["learned"]
    return {
        "verdict": card["verdict"]["short"],
        "heldout_accuracy": heldout["accuracy"],
        "heldout_interval": [heldout["low"], heldout["high"]],
        "heldout_judgments": heldout["judgments"],
        "heldout_log_loss": heldout["log_loss"],
        "chance": heldout["chance"],
        "ece": card["calibration"]["after"]["ece"],
        "best_epoch": learned["epochs"][0],
        "scale": learned["scale"],
        "tie": learned["tie"],
        "judgments_used": card["judgments"]["used"],
        "judgments_of_missing_images": card["judgments"]["of_missing_images"],
        "argmax_accuracy": card["gold"]["argmax_accuracy"],
    }


def save_card(folder: Path, items: CardItems, card: dict[str, Any]) -> None:
    """Write card.json, and card.html: one self-contained page."""
    pictures = {one["image"]: items.thumbnail(one["image"]) for one in card["surprising"]}
    page = render(Path(__file__).parent, "card.html.jinja", card=card, drawn=draw_card_plots(card), thumbnails=pictures)
    write_json(folder / "card.json", card)
    write_atomically(folder / "card.html", page.encode())


def write_card(folder: Path, items: CardItems, trained: Evaluated, judgments: JudgmentSet) -> dict[str, Any]:
    """The card of a reward model of any items, as files in `folder`; returns its entries in summary.json."""
    card = make_card(items, trained, judgments)
    save_card(folder, items, card)
    return summarise(card)
