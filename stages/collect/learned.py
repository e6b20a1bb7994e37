"""What a round's reward model knows, and what it does not: the inputs of query strategies."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.config import Config
from pipeline.data.encoding import divided_rows
from pipeline.learning.laplace import last_layer_samples, log_mean_probability
from pipeline.learning.linear_heads import USUAL_SD
from pipeline.models.reward_model import RewardModel
from pipeline.run.atomic_files import read_json
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace


def what_was_learned(ws: Workspace, archive: Path, asked: Counter[int], told: Counter[int]) -> dict[str, Any]:
    """Arguments of `Candidates`: judged, times, predicted and draw_samples.

    Args:
        archive: of a round, whose reward model it is.
        asked: how often each image was asked about, by row number.
        told: how many of the answers tell something.
    """
    model, _ = RewardModel.load(archive / "reward" / "model.safetensors")
    utilities = [ws.scores(*ws.cut(network)).float() for network in model.networks]
    rows = torch.tensor(sorted(asked), dtype=torch.long)
    members = torch.stack([torch.log_softmax(u, -1) for u in utilities])

    def in_order(counts: Counter[int]) -> Tensor:
        return torch.tensor([counts[row] for row in rows.tolist()], dtype=torch.long)

    def draw() -> Tensor:
        if len(members) > 1:
            return members
        random = generator(ws.config.seed, Stream.POSTERIOR)
        features = last_features(ws, model.networks[0])
        return last_layer_samples(features, utilities[0], rows, in_order(told), random, prior_sd=prior_sd_of(archive))

    return {"judged": rows, "times": in_order(asked), "predicted": log_mean_probability(members), "draw_samples": draw}


def last_features(ws: Workspace, network: torch.nn.Module) -> Tensor:
    """Inputs [N, D] of a network's last layer, of all images."""
    model = ws.config.model.model_copy(update={"trainable": "head"})
    config: Config = ws.config.model_copy(update={"model": model})
    _, features = replace(ws, config=config).cut(network)
    return torch.cat([part.cpu() for part in divided_rows(features)])


def prior_sd_of(archive: Path) -> float:
    """The prior standard deviation that cross-validation chose for a linear head; USUAL_SD for other networks."""
    settings = read_json(archive / "reward" / "card.json")["settings"]
    return settings.get("prior_sd") or USUAL_SD
