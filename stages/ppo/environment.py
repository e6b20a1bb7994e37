"""What the policy acts in: images, the frozen reward of every class, and the frozen reference.

Scores of the table's images are made once (METHOD 5). Views that are drawn for a rollout are scored as they come, by
the same frozen networks, as a language model's reward model scores answers it has never seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.features import BATCH, Features
from pipeline.images.transforms import augment
from pipeline.models.policy import log_policy
from pipeline.models.reward_model import RewardModel
from pipeline.workspace import Workspace
from stages.ppo.rollout import Inputs


@dataclass(frozen=True, eq=False)
class Environment:
    """Attributes: log_ref, reward: tables [N, C] of all images; reference, reward_model: the frozen networks."""

    ws: Workspace
    log_ref: Tensor
    reward: Tensor
    reference: nn.Module
    reward_model: RewardModel

    @classmethod
    def open(cls, ws: Workspace) -> Environment:
        """Load both frozen models and their tables.

        Raises:
            UserError: a model is missing or was made for other classes.
        """
        model, header = RewardModel.load(ws.run.require("reward", "model.safetensors"))
        if header.classes != ws.classes:
            raise UserError(
                f"the reward model knows the classes {', '.join(header.classes)}, not {', '.join(ws.classes)}"
            )
        reference = ws.load_policy(ws.run.require("reference", "model.safetensors")).to(ws.runtime.device)
        utilities = [ws.scores(*ws.cut(network)) for network in model.networks]
        model.to(ws.runtime.device).requires_grad_(False)
        table = model.rewards(utilities, ws.log_reference).cpu()
        return cls(ws, ws.log_reference, table, reference.requires_grad_(False), model)

    def inputs(self, features: Features, rows: Tensor, random: torch.Generator) -> tuple[Inputs, Tensor, Tensor]:
        """Images for a rollout, with log pi_ref [B, C] and r~ [B, C] of each."""
        config = self.ws.config
        if not (config.ppo.augment and features.prefix is None):
            return Inputs(features, rows), self.log_ref[rows], self.reward[rows]
        inputs = Inputs(features, rows, augment(features.pixels.batch(rows), config.images.augment, random))
        log_ref = log_policy(forward(self.reference, inputs))
        utilities = [forward(network, inputs) for network in self.reward_model.networks]
        return inputs, log_ref, self.reward_model.rewards(utilities, log_ref)


@torch.no_grad()
def forward(network: nn.Module, inputs: Inputs) -> Tensor:
    """Outputs [B, C], on the CPU, of a network in eval mode on the inputs of a rollout."""
    network.eval()
    parts = torch.arange(len(inputs)).split(BATCH)
    return torch.cat([network(inputs.batch(part)).float().cpu() for part in parts])
