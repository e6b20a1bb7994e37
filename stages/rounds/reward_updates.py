"""How long a round trains the reward model (`rounds.reward_updates`)."""

from __future__ import annotations

import math

from pipeline.config import Config, parse_config
from pipeline.errors import UserError


def config_of_round(config: Config, answers: int, total: int) -> Config:
    """The configuration with which a round trains and aligns.

    With `rounds.reward_updates: steps`, a round that has fewer answers than the last one makes more passes over them, so
    that every round takes about as many gradient steps; patience grows with them. With `reward.unlabelled` a pass goes over
    all training images in every round, so that nothing has to be changed.

    Args:
        answers: of this round and those before it.
        total: of all rounds.

    Raises:
        UserError: the reward model is fitted exactly, without passes over the answers.
    """
    if config.rounds.reward_updates == "epochs":
        return config
    reward = config.reward
    if reward.optimiser == "lbfgs" or (reward.optimiser == "auto" and config.model.trainable == "head"):
        raise UserError(
            "rounds.reward_updates: linear heads are fitted exactly, without gradient steps; set it to epochs, or "
            "reward.optimiser to adamw"
        )
    if answers >= total or reward.unlabelled != "none":
        return config
    tree = config.model_dump(mode="json")
    for name in ("epochs", "patience"):
        tree["reward"][name] = min(math.ceil(tree["reward"][name] * total / answers), 100_000)
    return parse_config(tree, "rounds")
