"""The environment of a policy: images, the frozen reward of every class, and the frozen reference.

Scores of the table's images are computed once (docs/method.md 5). Views drawn for a rollout are scored when they are
drawn, by the same frozen networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.data.feature_cache import BATCH, Features
from pipeline.data.transforms import augment
from pipeline.errors import UserError
from pipeline.models.policy import log_policy
from pipeline.models.precision import autocast
from pipeline.models.reward_model import RewardModel
from pipeline.models.serialization import weights_hash
from pipeline.run.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Inputs:
    """Images of a rollout: rows of the table, or views of them drawn for this rollout.

    A view is drawn once per rollout, so that every epoch uses the policy's inputs and the ratio starts at 1.
    """

    features: Features
    rows: Tensor
    views: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, part: Tensor) -> Tensor:
        """Features of the images at positions `part`."""
        if self.views is None:
            return self.features.batch(self.rows[part])
        return self.features.encode(self.views[part])


@dataclass(frozen=True, eq=False)
class Environment:
    """Both frozen networks and their tables.

    Attributes:
        log_ref, reward: [N, C] log pi_ref and r~ of all images.
        utility: [N, C] of the reward model's networks; the highest is the class that the judgments alone would choose.
        beta: weight of the KL penalty that the configuration asks for, in units of the reward.
        spread: [N, C] standard deviation of the ensemble's rewards; None for a reward model of one network.
        reference, reward_model: the frozen networks.
        hashes: of both, weights and buffers, when they were loaded.
    """

    ws: Workspace
    log_ref: Tensor
    reward: Tensor
    utility: Tensor
    beta: float
    spread: Tensor | None
    reference: nn.Module
    reward_model: RewardModel
    hashes: tuple[str, str]

    @classmethod
    def open(cls, ws: Workspace) -> Environment:
        """Load both frozen models and their tables.

        Raises:
            UserError: a model is missing or was made for other classes.
        """
        model, header = RewardModel.load(ws.run.require("reward", "model.safetensors"))
        if header.classes != ws.classes:
            raise UserError(
                f"the reward model has the classes {', '.join(header.classes)}, not {', '.join(ws.classes)}; run "
                "`make train-reward` again"
            )
        reference = ws.load_policy(ws.run.require("reference", "model.safetensors")).to(ws.runtime.device)
        utilities = [ws.scores(*ws.cut(network)) for network in model.networks]
        model.to(ws.runtime.device).requires_grad_(False)
        reference.requires_grad_(False)
        beta = configured_beta(ws)
        table = model.rewards(utilities, ws.log_reference, beta).cpu()
        # Centred over all classes equally: centred under the reference, it would vanish if that is confident.
        uniform = torch.full_like(ws.log_reference, -math.log(len(ws.classes)))
        spread = model.spread(utilities, uniform).cpu() if len(utilities) > 1 else None
        hashes = (weights_hash(reference), weights_hash(model))
        utility = model.utilities(utilities, ws.log_reference).cpu()
        return cls(ws, ws.log_reference, table, utility, beta, spread, reference, model, hashes)

    def check_frozen(self) -> None:
        """Raise RuntimeError if reference or reward model changed, BatchNorm's buffers included."""
        for name, network, before in zip(
            ("reference", "reward model"), (self.reference, self.reward_model), self.hashes, strict=True
        ):
            if weights_hash(network) != before:
                raise RuntimeError(f"the frozen {name} was changed while the policy was trained; the result is invalid")

    def inputs(
        self, features: Features, rows: Tensor, random: torch.Generator, *, views: bool
    ) -> tuple[Inputs, Tensor, Tensor]:
        """Images, with log pi_ref [B, C] and r~ [B, C] of each.

        Args:
            views: draw a view of each by images.augment, where the features are the images themselves.
        """
        if not (views and features.prefix is None):
            return Inputs(features, rows), self.log_ref[rows], self.reward[rows]
        inputs = Inputs(features, rows, augment(features.pixels.batch(rows), self.ws.config.images.augment, random))
        log_ref = log_policy(forward(self.reference, inputs))
        utilities = [forward(network, inputs) for network in self.reward_model.networks]
        return inputs, log_ref, self.reward_model.rewards(utilities, log_ref, self.beta)


def configured_beta(ws: Workspace) -> float:
    """`ppo.beta`; `auto` is what train-reward chose (docs/method.md 3).

    Raises:
        UserError: it is `auto`, and the reward model was trained without choosing one.
    """
    beta = ws.config.ppo.beta
    if beta != "auto":
        return beta
    chosen = ws.run.read("reward", "card.json", "verdict").get("kl_weight")
    if not chosen:
        raise UserError(
            f"ppo.beta: auto: no beta was chosen in {ws.run.path / 'reward' / 'card.json'}; run `make train-reward` again "
            "with reward.scale=nats, or set a number (0.3 was the default with reward.scale=unit)"
        )
    return float(chosen["beta"])


@torch.no_grad()
def forward(network: nn.Module, inputs: Inputs) -> Tensor:
    """Outputs [B, C], on the CPU, of a network in eval mode. All processes must call it; each computes a share."""
    network.eval()

    def outputs(own: Tensor) -> Tensor:
        return torch.cat([network(inputs.batch(part)).float().cpu() for part in own.split(BATCH)])

    with autocast(inputs.features.device, inputs.features.bf16):
        return inputs.features.runtime.divided(len(inputs), outputs)
