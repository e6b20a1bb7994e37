"""The reference's linear head, fitted exactly to its labelled images (docs/method.md 1).

The prior keeps it from being surer than a few images allow, most of all for images unlike these; a temperature would treat
all images alike. Held-out folds choose how strong the prior is. What a zero-shot head knew before may still be too sure of
itself: it gets a temperature as well.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.config import Config
from pipeline.data.feature_cache import Features
from pipeline.errors import UserError
from pipeline.learning.linear_heads import (
    PRIOR_SDS,
    USUAL_SD,
    Scale,
    fit_labels_exactly,
    head_inputs,
    penalty_of_prior_sd,
    solvable,
)
from pipeline.learning.statistics import fit_temperature
from pipeline.models.backbone import Split
from pipeline.models.policy import final_linear
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics
from stages.reference.folds import label_folds

SAMPLE = 5000  # training images whose features give the scale


def check_optimiser(config: Config) -> None:
    """Raise UserError if a head should be fitted exactly, and more than a head is trained."""
    if config.reference.optimiser == "lbfgs" and config.model.trainable != "head":
        raise UserError(
            f"reference.optimiser: lbfgs fits linear heads, and model.trainable is '{config.model.trainable}'; set "
            "model.trainable to head, or reference.optimiser to adamw"
        )


def fitted_exactly(ws: Workspace, features: Features, rows: Tensor) -> bool:
    """Whether `reference.optimiser` has the head fitted exactly to images `rows` [n]."""
    wanted = ws.config.reference.optimiser
    if wanted == "auto":
        return ws.config.model.trainable == "head" and solvable(features, rows, len(ws.classes))
    return wanted == "lbfgs"


@torch.no_grad()
def fit_exact_head(
    ws: Workspace, pieces: Split, features: Features, rows: Tensor, labels: Tensor, metrics: Metrics
) -> float:
    """Change the network's last layer to the head of the highest posterior for images `rows` [n] of classes `labels` [n].

    Returns the temperature that held-out folds give it; 1 if it started at zero, or there are no folds.

    Raises:
        UserError: features are NaN or Inf.
    """
    layer = final_linear(pieces.network)
    start = layer.weight.detach().cpu().double(), layer.bias.detach().cpu().double()
    train = ws.rows("train")
    scale = Scale.of(head_inputs(features, train[:: -(-len(train) // SAMPLE)]))
    x = head_inputs(features, rows)
    z, initial = scale.applied(x), x @ start[0].T + start[1]
    wanted, folds = ws.config.reference.prior_sd, list(label_folds(ws, labels))
    candidates = PRIOR_SDS if folds else (USUAL_SD,)
    scores: dict[float, float] = {}
    for sd in candidates if wanted == "auto" else (wanted,):
        loss = float(cross_entropy(heldout_utilities(z, initial, labels, folds, sd), labels)) if folds else None
        scores[sd] = (loss or 0.0) + penalty_of_prior_sd(sd) / len(labels)
        metrics.add(prior_sd=sd, heldout_log_loss=loss, score=scores[sd] if folds else None)
    chosen = min(scores, key=scores.__getitem__)
    weight, intercept = fit_labels_exactly(z, initial, labels, chosen)
    if not all(bool(part.isfinite().all()) for part in (weight, intercept)):
        raise UserError(
            f"model.backbone: {ws.config.model.backbone} computes NaN or Inf for some images, so that no head can be fitted; "
            "use other weights (model.weights), or runtime.precision: fp32"
        )
    for parameter, value in zip((layer.weight, layer.bias), scale.as_layer(start, weight, intercept), strict=True):
        parameter.copy_(value)
    pieces.suffix.eval()
    if not folds or not any(part.any() for part in start):
        return 1.0
    return fit_temperature(heldout_utilities(z, initial, labels, folds, chosen), labels)


def heldout_utilities(z: Tensor, initial: Tensor, labels: Tensor, folds: list[Tensor], prior_sd: float) -> Tensor:
    """[n, C] of every image by a head that was fitted without its fold; arguments as of `fit_labels_exactly`."""
    utilities = initial.clone()
    for held in folds:
        weight, intercept = fit_labels_exactly(z[~held], initial[~held], labels[~held], prior_sd)
        utilities[held] += z[held] @ weight + intercept
    return utilities
