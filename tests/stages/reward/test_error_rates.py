"""Error rates on pages from left-out predictions: found again where a head fitted together with them is far off."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.judgment_sets import judgment_set

from pipeline.config import parse_config
from pipeline.kinds.grid import LEAVE, MARK
from stages.reward.cross_validation import cross_validate
from stages.reward.error_rates import learn_error_rates
from stages.reward.folds import FOLDS, folds_by_image
from stages.reward.judgment_set import JudgmentSet
from stages.reward.likelihood_parameters import LikelihoodParameters
from stages.reward.linear_head import HeadProblem

CONFIG = parse_config({"images": {"source": "digits"}, "reward": {"objective": "supervised"}}, "test").reward
IMAGES, WIDTH, CLASSES, PRIOR_SD = 1500, 40, 6, 3.0
MISS, ALARM = (0.05, 0.3), (0.02, 0.06)  # of two people, each of whom sees half of the images, once


def planted(seed: int) -> tuple[JudgmentSet, HeadProblem, np.ndarray]:
    """Pages about images that a head knows nine times in ten; truth [IMAGES]."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, CLASSES, IMAGES)
    x = random.normal(size=(CLASSES, WIDTH))[truth] * 0.55 + random.normal(size=(IMAGES, WIDTH))
    label = np.where(random.random(IMAGES) < 0.3, (truth + random.integers(1, CLASSES, IMAGES)) % CLASSES, truth)
    who, right = np.arange(IMAGES) % 2, label == truth
    error = random.random(IMAGES) < np.where(right, np.array(ALARM)[who], np.array(MISS)[who])
    answer = torch.from_numpy(np.where(right ^ error, LEAVE, MARK))
    row, asked = torch.arange(IMAGES), torch.from_numpy(label)
    one = torch.tensor([0])
    names = [likelihood.name for likelihood in judgment_set(one, (one, one), (one, one), one).likelihoods]
    kind = torch.full_like(row, names.index("grid"))
    judgments = judgment_set(
        kind, (row, row), (asked, torch.zeros_like(asked)), answer, torch.from_numpy(who), ("ann", "bob")
    )
    object.__setattr__(judgments, "observed", {"grid": torch.zeros(2, 2, 2)})
    start = torch.zeros(CLASSES, WIDTH), torch.zeros(CLASSES)
    return judgments, HeadProblem(CONFIG, row, torch.from_numpy(x), *start), truth


def shares(judgments: JudgmentSet, truth: np.ndarray) -> tuple[list[float], list[float]]:
    """The misses and false alarms that happened, per person."""
    right = judgments.classes[:, 0].numpy() == truth[judgments.rows_a.numpy()]
    answer, who = judgments.answer.numpy(), judgments.annotator.numpy()
    missed = [float((answer[~right & (who == n)] == LEAVE).mean()) for n in range(2)]
    return missed, [float((answer[right & (who == n)] == MARK).mean()) for n in range(2)]


@pytest.mark.parametrize("seed", [116, pytest.param(117, marks=pytest.mark.long)])
def test_rates_are_found_within_three_points(seed: int) -> None:
    judgments, problem, truth = planted(seed)
    folds = folds_by_image(judgments, FOLDS, torch.Generator().manual_seed(seed))
    together = problem.fit(judgments, PRIOR_SD)
    result = cross_validate(folds, lambda train, _: [problem.fit(train, PRIOR_SD)], problem)
    known = (result.utilities[0].argmax(-1).numpy() == truth[result.tested.images.numpy()]).mean()
    assert 0.85 < known < 0.95, "a head without mistakes tells nothing of this"
    rates = learn_error_rates(result.tested, result.utilities, CONFIG)
    assert rates is not None
    found = LikelihoodParameters(judgments, CONFIG, error_rates=rates).error_rates()
    missed, alarms = shares(judgments, truth)
    assert found["miss_rate"].tolist() == pytest.approx(missed, abs=0.03)
    assert found["false_alarm_rate"].tolist() == pytest.approx(alarms, abs=0.03)
    alone = together.latent.error_rates()["false_alarm_rate"]
    assert alone[1] < alarms[1] - 0.04, "fitted together with the head, they are too low"


def test_known_rates_stay_and_make_a_better_head() -> None:
    judgments, problem, truth = planted(118)
    folds = folds_by_image(judgments, FOLDS, torch.Generator().manual_seed(0))
    before = cross_validate(folds, lambda train, _: [problem.fit(train, PRIOR_SD)], problem)
    rates = learn_error_rates(before.tested, before.utilities, CONFIG)
    assert rates is not None
    heads = []

    def fit(train: JudgmentSet, _: int) -> list:  # type: ignore[type-arg]
        heads.append(problem.fit(train, PRIOR_SD, error_rates=rates))
        return heads[-1:]

    after = cross_validate(folds, fit, problem)
    for head in heads:
        assert torch.equal(head.latent.errors["grid"].logit_miss, rates["grid"].logit_miss)

    def accuracy(result: object) -> float:
        return float((result.utilities[0].argmax(-1).numpy() == truth).mean())  # type: ignore[attr-defined]

    assert accuracy(after) >= accuracy(before)


def test_without_pages_there_are_none() -> None:
    row = torch.arange(4)
    labels = judgment_set(torch.ones_like(row), (row, row), (row, row), row % 3)
    assert learn_error_rates(labels, [torch.zeros(4, 3)], CONFIG) is None
