"""The likelihood of pages: by hand, and from planted truth, from which the error rates of people must be found again."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support.judgment_sets import judgment_set
from torch import Tensor

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.pages import page_answer
from feedback_store.schemas import schemas
from feedback_store.schemas.base import Subject
from pipeline.config import parse_config
from pipeline.kinds import kinds
from pipeline.kinds.grid import FALSE_ALARM_PRIOR, LEAVE, MARK, MISS_PRIOR
from stages.reward.judgment_set import JudgmentSet, read_judgments
from stages.reward.likelihood_parameters import LikelihoodParameters, log_likelihood
from stages.reward.linear_head import HeadProblem

KIND = kinds.get("grid")
CONFIG = parse_config({"images": {"source": "digits"}, "reward": {"objective": "supervised"}}, "test").reward
CLASSES = ("ant", "bee", "wasp")


def test_log_p_by_hand() -> None:
    """Probabilities 0.5, 0.3 and 0.2: of the page's class bee, q = 0.3. With miss rate 0.2 and false-alarm rate 0.1
    P(unmarked) = 0.3 x 0.9 + 0.7 x 0.2 = 0.41."""
    utilities = torch.tensor([[0.5, 0.3, 0.2]]).log() + 4
    log_p = KIND.likelihood.log_p(None, utilities, torch.tensor([[0, 0]]), torch.tensor([[1, 0]]))
    assert log_p.exp()[0].tolist() == pytest.approx([0.7, 0.3])
    errors = KIND.likelihood.errors(torch.zeros(2, 2, 2))
    with torch.no_grad():
        errors.logit_miss[1] = math.log(0.2 / 0.8)
        errors.logit_false_alarm[1] = math.log(0.1 / 0.9)
        p = KIND.likelihood.with_errors(errors, log_p, torch.tensor([1])).exp()[0]
    assert p[LEAVE].item() == pytest.approx(0.41)
    assert p[MARK].item() == pytest.approx(0.59)


def test_certain_utilities_have_finite_gradients() -> None:
    utilities = torch.tensor([[200.0, 0.0, 0.0], [-200.0, 0.0, 0.0]], requires_grad=True)
    log_p = KIND.likelihood.log_p(None, utilities, torch.tensor([[0], [1]]), torch.tensor([[0], [0]]))
    errors = KIND.likelihood.errors(torch.zeros(1, 2, 2))
    KIND.likelihood.with_errors(errors, log_p, torch.tensor([0, 0]))[[0, 1], [MARK, LEAVE]].sum().backward()
    assert torch.isfinite(utilities.grad).all()
    assert torch.isfinite(errors.logit_miss.grad).all()


def test_the_prior_by_hand_with_what_was_observed() -> None:
    """Two misses and six marked exceptions, one false alarm and nine right ones left: added to the Beta priors."""
    observed = torch.tensor([[[2.0, 6.0], [1.0, 9.0]]])
    errors = KIND.likelihood.errors(observed)
    with torch.no_grad():
        errors.logit_miss[:] = math.log(0.25 / 0.75)
        errors.logit_false_alarm[:] = math.log(0.1 / 0.9)
    (a, b), (c, d) = MISS_PRIOR, FALSE_ALARM_PRIOR
    expected = (a - 1 + 2) * math.log(0.25) + (b - 1 + 6) * math.log(0.75)
    expected += (c - 1 + 1) * math.log(0.1) + (d - 1 + 9) * math.log(0.9)
    assert float(KIND.likelihood.log_prior(errors).detach()) == pytest.approx(expected, rel=1e-5)
    assert float(torch.sigmoid(KIND.likelihood.errors(torch.zeros(1, 2, 2)).logit_miss).detach()) == pytest.approx(0.1)


def test_stored_pages_are_read(tmp_path: Path) -> None:
    """img-0 is a labelled image of the reference: what was said of it counts as error, and is not trained on."""
    store, schema = CsvFeedbackStore(tmp_path), schemas.get("grid")
    page = Subject(("img-0", "img-1", "img-2"), ("ant",))
    for who, text in (("ann", "1:bee"), ("bob", "0:bee"), ("cy", "cant_tell")):
        store.append(schema.records(page, text, page="0" * 24, id=f"answer-{who}", annotator=who, source="web"))
    position = {"img-0": 0, "img-1": 1, "img-2": 2}
    j = read_judgments(store, position, CLASSES, "supervised", {"img-0": "bee"})
    assert [(row[0], label[0]) for row, label in zip(j.rows.tolist(), j.classes.tolist(), strict=True)] == [
        (1, 1),
        (2, 1),
        (1, 1),
        (2, 1),
    ]
    assert j.answer.tolist() == [MARK, LEAVE, LEAVE, LEAVE]
    assert [j.annotators[n] for n in j.annotator.tolist()] == ["ann", "ann", "bob", "bob"]
    assert j.observed["grid"].tolist() == [[[0, 0], [0, 1]], [[0, 0], [1, 0]]], "bob's mark was a false alarm"
    everything = read_judgments(store, position, CLASSES, "supervised")
    assert len(everything) == 6
    assert float(everything.observed["grid"].sum()) == 0


def test_without_pages_there_is_nothing_new_to_learn() -> None:
    one = torch.tensor([0])
    latent = LikelihoodParameters(judgment_set(one, (one, one), (one, one), one), CONFIG)
    assert not [name for name in latent.state_dict() if "errors" in name or "grid" in name]
    assert latent.error_rates() == {}


MISS, ALARM = (0.05, 0.3), (0.01, 0.08)  # of two people
IMAGES, WIDTH, MANY = 1200, 12, 5


def features(random: np.random.Generator, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Truth [IMAGES] and features [IMAGES, WIDTH] of five classes, some of them hard to tell apart."""
    truth = random.integers(0, MANY, IMAGES)
    centres = random.normal(size=(MANY, WIDTH)) * 1.2
    return truth, centres[truth] + noise * random.normal(size=(IMAGES, WIDTH))


def pages(truth: np.ndarray, random: np.random.Generator, gold: int = 0) -> JudgmentSet:
    """Each image on one page of each person; a third of a page's images are exceptions."""
    rows, labels, answers, people = [], [], [], []
    observed = np.zeros((2, 2, 2))
    for who in range(2):
        label = np.where(random.random(IMAGES) < 1 / 3, (truth + random.integers(1, MANY, IMAGES)) % MANY, truth)
        right = label == truth
        error = random.random(IMAGES) < np.where(right, ALARM[who], MISS[who])
        rows.append(np.arange(IMAGES)[gold:])
        labels.append(label[gold:])
        answers.append(np.where(right ^ error, LEAVE, MARK)[gold:])
        people.append(np.full(IMAGES - gold, who))
        np.add.at(observed[who], (right[:gold].astype(int), (~error[:gold]).astype(int)), 1)
    row, label, answer, person = (torch.from_numpy(np.concatenate(part)) for part in (rows, labels, answers, people))
    likelihoods = [one.name for one in judgment_set(row[:1], (row[:1],) * 2, (row[:1],) * 2, row[:1]).likelihoods]
    kind = torch.full_like(row, likelihoods.index("grid"))
    made = judgment_set(kind, (row, row), (label, torch.zeros_like(label)), answer, person, ("ann", "bob"))
    object.__setattr__(made, "observed", {"grid": torch.from_numpy(observed)})
    return made


@pytest.mark.parametrize("gold", [0, 240])
def test_error_rates_are_found_again(gold: int) -> None:
    """A linear head is fitted to pages of two people; without any gold tile, and with some."""
    random = np.random.default_rng(4)
    truth, x = features(random, noise=0.9)
    judgments = pages(truth, random, gold)
    start = torch.zeros(MANY, WIDTH), torch.zeros(MANY)
    problem = HeadProblem(CONFIG, judgments.images, torch.from_numpy(x)[judgments.images], *start)
    head = problem.fit(judgments, 10.0)
    rates = {name: values.tolist() for name, values in head.latent.error_rates().items()}
    assert rates["miss_rate"] == pytest.approx(MISS, abs=0.03)
    assert rates["false_alarm_rate"] == pytest.approx(ALARM, abs=0.03)
    guessed = problem.utilities(head, judgments.images).argmax(-1).numpy()
    assert (guessed == truth[gold:]).mean() > 0.95, "from marks alone, without a single class name"


def test_many_images_of_known_utilities() -> None:
    """Where the utilities are the truth, each rate is the share of errors, drawn to its prior a little."""
    random = np.random.default_rng(0)
    truth = random.integers(0, MANY, IMAGES)
    judgments = pages(truth, random)
    utilities: Tensor = 20 * torch.nn.functional.one_hot(torch.from_numpy(truth), MANY).double()
    latent = LikelihoodParameters(judgments, CONFIG).double()
    optimiser = torch.optim.LBFGS(latent.errors.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = -log_likelihood(utilities, judgments.images, judgments, latent).sum() - latent.log_prior()
        loss.backward()
        return loss

    optimiser.step(closure)
    rates = latent.error_rates()
    for who in range(2):
        own = judgments.pick(judgments.annotator == who)
        wrong = own.classes[:, 0] != torch.from_numpy(truth)[own.rows[:, 0]]
        missed = int((own.answer[wrong] == LEAVE).sum())
        a, b = MISS_PRIOR
        expected = (missed + a - 1) / (int(wrong.sum()) + a + b - 2)
        assert float(rates["miss_rate"][who].detach()) == pytest.approx(expected, abs=1e-4)


def test_the_class_of_a_page_may_have_any_name() -> None:
    assert KIND.schema.labels_in("a, b: c") == ("a, b: c",)
    assert page_answer("a, b: c", [1]) == "1:a, b: c"
