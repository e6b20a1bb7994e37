"""The reward model: planted rewards are recovered from judgments, and losses are the likelihood's."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.control_tasks import small_task
from torch import Tensor, nn

from pipeline.control.config import ControlConfig, EnsembleConfig
from pipeline.control.environments import Spaces
from pipeline.control.questions import ClipComparison, ClipRating
from pipeline.control.reward_ensemble import RewardEnsemble
from pipeline.control.segments import Segments
from pipeline.control.teachers import SegmentTeacher
from stages.control.fit import Best, SegmentJudgments, fit

LENGTH, SEGMENTS, SPACES = 5, 200, Spaces(2, 2, np.zeros(0), np.zeros(0))


def planted(config: ControlConfig, answers_of: Any) -> tuple[SegmentJudgments, np.ndarray]:
    """Judgments about segments whose true reward is obs[0] if the action is 0, and -obs[0] otherwise; and the returns."""
    random = np.random.default_rng(0)
    obs = random.normal(size=(SEGMENTS, LENGTH, 2)).astype(np.float32)
    taken = random.integers(0, 2, (SEGMENTS, LENGTH))
    rewards = np.where(taken == 0, obs[:, :, 0], -obs[:, :, 0])
    segments = Segments(obs, SPACES.encode(taken).reshape(SEGMENTS, LENGTH, 2), np.full(SEGMENTS, LENGTH))
    rows, answer = answers_of(rewards, random)
    heldout = torch.arange(len(answer)) % 5 == 0
    return SegmentJudgments(segments, segments.ids(), torch.from_numpy(rows), answer, heldout), rewards.sum(1)


def compared(rewards: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, Tensor]:
    rows = random.integers(0, SEGMENTS, (400, 2))
    teacher = SegmentTeacher(eps_equal=0.5)
    return rows, ClipComparison().encode(teacher.compare(rewards[rows[:, 0]], rewards[rows[:, 1]], 1.0, random))


def rated(rewards: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, Tensor]:
    rows = np.arange(SEGMENTS)[:, None]
    return rows, ClipRating().encode(SegmentTeacher().rate(rewards, (-6.0, 6.0), 5, random))


@pytest.mark.parametrize(
    ("question", "reward"),
    [
        ("clip_comparison", {"ties": "davidson"}),
        pytest.param("clip_comparison", {"ties": "half"}, marks=pytest.mark.long),
        pytest.param("clip_rating", {"rating": "binned"}, marks=pytest.mark.long),
        pytest.param("clip_rating", {"rating": "scalar"}, marks=pytest.mark.long),
    ],
)
def test_a_planted_reward_is_recovered(tmp_path: Path, question: str, reward: dict[str, str]) -> None:
    settings = {"epochs": 60, "lr": 0.01, "hidden": [16], **reward}
    config = small_task(tmp_path, collect={"question": question}, reward=settings)
    judgments, returns = planted(config, compared if question == "clip_comparison" else rated)
    fitted = fit(config, judgments, SPACES, 0)
    learned = fitted.ensemble.segment_returns(judgments.segments).mean(1).numpy()
    assert np.corrcoef(learned, returns)[0, 1] > 0.9
    assert fitted.agreement is not None
    assert fitted.agreement > (0.85 if question == "clip_comparison" else 0.5)
    again = fit(config, judgments, SPACES, 0)
    assert torch.equal(again.ensemble.weights[0], fitted.ensemble.weights[0])


def test_a_tie_is_half_an_answer_for_either_side() -> None:
    log_p = torch.log(torch.tensor([[0.8, 0.2], [0.8, 0.2]]))
    loss = ClipComparison().loss(log_p, torch.tensor([0, 2]))
    assert loss.tolist() == pytest.approx([-math.log(0.8), -(math.log(0.8) + math.log(0.2)) / 2])
    of_davidson = ClipComparison().loss(torch.log(torch.tensor([[0.5, 0.2, 0.3]])), torch.tensor([2]))
    assert of_davidson.tolist() == pytest.approx([-math.log(0.3)])


def test_a_scalar_rating_has_the_squared_error_of_the_mean_reward() -> None:
    question, config = ClipRating(), EnsembleConfig(rating="scalar")
    parameters: Any = question.parameters(torch.tensor([0]), 5, config)
    with torch.no_grad():
        parameters.offset.fill_(0.0), parameters.log_gain.fill_(0.0), parameters.log_sigma.fill_(0.0)
    utilities = question.utilities(torch.tensor([2.5]), 5, config)[:, None]  # a mean reward of 0.5
    log_p = question.likelihood.log_p(parameters, utilities, torch.tensor([[0]]), torch.tensor([[0]]))
    loss = question.loss(log_p, torch.tensor([4]))  # level 5 of 5 is at 1
    assert float(loss.detach()) == pytest.approx(0.5 * (1 - 0.5) ** 2 + 0.5 * math.log(2 * math.pi))
    assert isinstance(parameters, nn.Module)


def test_unanswered_questions_are_left_out() -> None:
    assert ClipComparison().encode(["a", "cant_tell", "tie", "b", "bad_image"]).tolist() == [0, -1, 2, 1, -1]


def test_training_stops_when_held_out_answers_get_worse(tmp_path: Path) -> None:
    config = small_task(tmp_path, reward={"epochs": 500, "lr": 0.05, "patience": 3, "members": 1})
    judgments, _ = planted(config, lambda rewards, random: (random.integers(0, SEGMENTS, (40, 2)), noise(random, 40)))
    fitted = fit(config, judgments, SPACES, 0)
    assert max(fitted.epochs) < 60, "random answers cannot be learned"
    changed = config.reward.model_copy(update={"epochs": fitted.epochs[0]})
    stopped = fit(config.model_copy(update={"reward": changed}), judgments, SPACES, 0)
    assert torch.equal(stopped.ensemble.weights[0], fitted.ensemble.weights[0]), "the weights are of the best epoch"


def test_held_out_answers_are_not_trained_on(tmp_path: Path) -> None:
    config = small_task(tmp_path, reward={"epochs": 1})
    judgments, _ = planted(config, compared)
    other = replace(
        judgments, answer=torch.where(judgments.heldout, 1 - judgments.answer.clamp_max(1), judgments.answer)
    )
    first, second = fit(config, judgments, SPACES, 0), fit(config, other, SPACES, 0)
    assert torch.equal(first.ensemble.weights[0], second.ensemble.weights[0])
    assert first.log_loss != second.log_loss


def test_each_network_has_the_weights_of_its_own_best_epoch(tmp_path: Path) -> None:
    ensemble = RewardEnsemble(2, 2, [3], 2, torch.Generator().manual_seed(0))
    parameters = nn.ModuleList(nn.Linear(1, 1) for _ in range(2))
    best = Best(2)
    for epoch, loss in enumerate(([3.0, 1.0], [2.0, 2.0], [4.0, 5.0]), start=1):
        with torch.no_grad():
            for number, weight in enumerate([*ensemble.parameters(), *parameters.parameters()]):
                weight.fill_(epoch * 10 + number)
        best.update(torch.tensor(loss), epoch, ensemble, parameters)
    best.restore(ensemble, parameters)
    assert best.epochs == [2, 1]
    assert [float(ensemble.weights[0][member, 0, 0].detach()) // 10 for member in range(2)] == [2, 1]
    assert [float(one.weight.detach()) // 10 for one in parameters] == [2, 1]  # type: ignore[operator]


def noise(random: np.random.Generator, count: int) -> Tensor:
    return torch.from_numpy(random.integers(0, 2, count))
