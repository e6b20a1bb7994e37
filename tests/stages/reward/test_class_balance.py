"""Classes that are about equally frequent, as a prior of linear heads."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.judgment_sets import LABEL, judgment_set

from pipeline.config import Config, RewardConfig
from pipeline.errors import UserError
from pipeline.run.atomic_files import read_json
from stages.collect.run import run as collect
from stages.reference.run import run as reference
from stages.reward import run as reward
from stages.reward.class_balance import CONCENTRATION, MAX_IMAGES, ClassBalance
from stages.reward.folds import folds_by_image
from stages.reward.head_teaching import HeadTeaching, choose_teaching
from stages.reward.linear_head import HeadProblem
from stages.reward.unlabelled import Propagation

CONFIG = RewardConfig()


def test_log_prior_by_hand() -> None:
    """Two images with probabilities (0.9, 0.1) and (0.5, 0.5): shares of 0.7 and 0.3."""
    utilities = torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=torch.double).log()
    expected = CONCENTRATION * (math.log(0.7) + math.log(0.3))
    assert float(ClassBalance(torch.arange(2)).log_prior(utilities)) == pytest.approx(expected, abs=1e-9)


def test_gradient_against_finite_differences() -> None:
    utilities = torch.randn(5, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(ClassBalance(torch.arange(5)).log_prior, utilities)


def test_very_sure_predictions_stay_finite() -> None:
    prior = ClassBalance(torch.arange(3)).log_prior(torch.tensor([[2000.0, 0.0]] * 3))
    assert torch.isfinite(prior)


def test_at_most_so_many_images() -> None:
    assert torch.equal(ClassBalance.over(torch.arange(3000)).rows, torch.arange(MAX_IMAGES))


def two_groups(second: int) -> tuple[HeadProblem, torch.Tensor]:
    """60 images on a line, of which the last `second` are around 1 and the others around -1; row numbers of the second."""
    x = torch.full((60, 1), -1.0)
    x[60 - second :] = 1.0
    x += 0.2 * torch.randn(60, 1, generator=torch.Generator().manual_seed(1))
    problem = HeadProblem(CONFIG, torch.arange(60), x, torch.zeros(2, 1), torch.zeros(2))
    return problem, torch.arange(60 - second, 60)


def answers(rows: list[int], second: torch.Tensor):  # type: ignore[no-untyped-def]
    asked = torch.tensor(rows)
    zero = torch.zeros_like(asked)
    label = torch.isin(asked, second).long()
    return judgment_set(torch.full_like(asked, LABEL), (asked, asked), (zero, zero), label, class_count=2)


def test_a_head_that_predicts_one_class_too_often_is_corrected() -> None:
    """Five answers about the first group and one about the second: without the prior the first class is expected too often."""
    problem, second = two_groups(second=30)
    judgments = answers([0, 3, 6, 9, 12, 45], second)
    balance = ClassBalance.over(torch.arange(60))
    shares = [
        torch.softmax(problem.utilities(problem.fit(judgments, 1.0, balance=prior), problem.images), -1).mean(0)
        for prior in (None, balance)
    ]
    assert float(shares[0][0]) > 0.6
    assert float(shares[1][0]) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("second", "used"), [(30, True), (3, False)])
def test_held_out_judgments_choose(second: int, used: bool) -> None:
    """Where one class has 3 of 60 images, equal shares make held-out judgments less probable."""
    problem, group = two_groups(second)
    rows = [0, 2, 4, 6, 8, 10, 12, 14, 58, 59] if used else [*list(range(0, 57, 2)), 58]
    judgments = answers(rows, group)
    folds = folds_by_image(judgments, 5, torch.Generator().manual_seed(0))
    teaching = HeadTeaching(problem.images, balance=ClassBalance.over(problem.images))
    assert bool(choose_teaching(teaching, problem, folds, 1.0, wanted="auto").balance) is used
    assert choose_teaching(teaching, problem, folds, 1.0, wanted="balance").balance is teaching.balance


def test_names_on_the_card() -> None:
    rows = torch.arange(2)
    assert HeadTeaching(rows).name == "none"
    both = HeadTeaching(rows, balance=ClassBalance(rows), propagation=Propagation.__new__(Propagation), weight=0.3)
    assert both.name == "balance+propagate"


@pytest.fixture
def answered(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> Callable[..., Config]:
    def make(trainable: str) -> Config:
        config = stripes_config(
            image_folder(classes=3, train=8, test=4),
            tmp_path / trainable,
            model={"trainable": trainable},
            reference={"labelled_per_class": 0},
            collect={"question": "label", "count": 12, "simulated": {"name": "oracle"}},
            reward={"objective": "supervised", "start": "backbone", "unlabelled": "balance", "epochs": 2, "curve": []},
        )
        reference(config)
        collect(config)
        return config

    return make


def test_a_head_with_balance(answered: Callable[..., Config]) -> None:
    config = answered("head")
    assert reward.run(config)
    assert read_json(config.runs / config.name / "reward" / "card.json")["settings"]["unlabelled"] == "balance"


def test_networks_that_are_not_fitted_exactly(answered: Callable[..., Config]) -> None:
    with pytest.raises(UserError, match=r"reward\.unlabelled: balance is for linear heads"):
        reward.run(answered("all"))
