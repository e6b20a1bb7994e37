"""The reward model's card of a control task: runs/<name>/reward/card.html, by the functions of other kinds of items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from feedback_store.store import FeedbackStore
from pipeline.config import RewardConfig
from pipeline.control.config import ControlConfig
from pipeline.control.environments import make_env, read_spaces
from pipeline.control.questions import LABEL, questions
from pipeline.kinds.probabilities import TIE
from pipeline.learning.reward_card import CardItems, Evaluated, MemberParameters
from pipeline.run.extension import StageFunctions
from pipeline.run.run_folder import RunFolder
from pipeline.run.stage_lock import one_process
from stages.control.fit import FittedReward, SegmentJudgments, fit, read_judgments
from stages.control.run import question_counts, versions


@one_process("reward")
def write_card(config: ControlConfig, functions: StageFunctions) -> None:
    """Write the card, unless it is up to date.

    Raises:
        UserError: no answers.
    """
    stage, store = RunFolder(config).stage("reward"), RunFolder(config).open_store()
    inputs = {**versions(), **store.fingerprint()}
    if stage.is_current(inputs):
        return
    stage.begin()
    summary = make_card(config, functions, store, stage.path)
    stage.finish(inputs, ["card.json", "card.html"], {"reward": summary})


def make_card(config: ControlConfig, functions: StageFunctions, store: FeedbackStore, folder: Path) -> dict[str, Any]:
    """Write the card's files; returns its figures.

    The networks are trained again on the stored answers, of all rounds and, for the learning curve, of the first ones:
    the same answers and seed give the same networks.
    """
    segments = config.runs / config.name / "segments"
    env = make_env(config.environment)
    spaces, rounds = read_spaces(env, config.environment.id), len(question_counts(config))
    env.close()
    own = [read_judgments(config, store, segments, number) for number in range(rounds)]
    fitted = [fit(config, one, spaces, number) for number, one in enumerate(own)]
    last = own[-1]
    settings = reward_settings(config)
    position = {clip: row for row, clip in enumerate(last.clips)}
    judgments = functions.read_judgments(store, position, (LABEL,), settings.objective)
    heldout = judgments.pick(last.heldout)
    members = [card_members(config, functions, one, judgments, settings) for one in fitted]
    utilities = [card_utilities(config, one, last) for one in fitted]
    curve = [
        functions.curve_point(members[number], utilities[number], int((~own[number].heldout).sum()), heldout)
        for number in range(rounds)
    ]
    tie = sum(float(getattr(one, "nu", 0.0)) for one in fitted[-1].parameters) / config.reward.members
    rewards = torch.stack(utilities[-1]).mean(0)
    evaluated = Evaluated(members[-1], rewards, heldout, utilities[-1], curve, tie=tie)
    return functions.write_card(folder, card_items(config, last, settings), evaluated, judgments)


def reward_settings(config: ControlConfig) -> RewardConfig:
    """The settings that the card shows."""
    compared = questions.get(config.collect.question).segments > 1
    return RewardConfig(
        objective="bradley_terry" if compared else "supervised",
        members=config.reward.members,
        pessimism=config.reward.pessimism,
        rating=config.reward.rating,
        start="backbone",
    )


def card_members(
    config: ControlConfig, functions: StageFunctions, fitted: FittedReward, judgments: Any, settings: RewardConfig
) -> list[MemberParameters]:
    """Each network's likelihood parameters among those of all kinds of judgments."""
    name, members = questions.get(config.collect.question).likelihood.name, []
    for own, epoch in zip(fitted.parameters, fitted.epochs, strict=True):
        latent = functions.likelihood_parameters(judgments, settings)
        if getattr(own, "ties", True) == getattr(latent.of[name], "ties", True):  # ties as half answers have no model
            latent.of[name] = own
        members.append(MemberParameters(latent.requires_grad_(False), epoch))
    return members


def card_utilities(config: ControlConfig, fitted: FittedReward, judgments: SegmentJudgments) -> list[Tensor]:
    """Utilities [U, 1] of all judged segments, one per network."""
    question, length = questions.get(config.collect.question), judgments.segments.obs.shape[1]
    returns = fitted.ensemble.segment_returns(judgments.segments)
    return [question.utilities(one, length, config.reward)[:, None] for one in returns.T]


def card_items(config: ControlConfig, judgments: SegmentJudgments, settings: RewardConfig) -> CardItems:
    """What the card needs to know of the run and its clips."""
    steps = judgments.segments.steps.tolist()

    def clip(row: Tensor) -> str:
        return f"{judgments.clips[int(row)]} ({steps[int(row)]} steps)"

    def describe(rows: Tensor, classes: Tensor, answer: int) -> str:
        if questions.get(config.collect.question).segments == 1:
            return f"{clip(rows[0])} was rated {answer + 1} of {config.collect.rating_levels}"
        if answer == TIE:
            return f"{clip(rows[0])} and {clip(rows[1])} were judged equally good"
        better, other = (rows[0], rows[1]) if answer == 0 else (rows[1], rows[0])
        return f"{clip(better)} was judged better than {clip(other)}"

    blank = [""] * len(judgments.clips)
    return CardItems(
        config.name, config.seed, settings, (LABEL,), judgments.clips, blank, item="clip", describe=describe
    )
