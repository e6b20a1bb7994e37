"""The accuracy from audit answers: closed forms, sums over all answers, and the coverage of the interval."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import integrate, stats

from pipeline.learning.audit_estimate import PRIOR_ERROR, AccuracyEstimate, Audited, _likelihood, estimate_accuracy
from pipeline.learning.audit_verdict import ENOUGH, MORE, verdict

AGREES, DIFFERS = Audited(4, ((4,),)), Audited(4, ((7,),))
NO_MISTAKES = (10**6, 10**6)  # gold answers


def of(agree: int, differ: int, classes: int = 10, **options: object) -> AccuracyEstimate:
    return estimate_accuracy([AGREES] * agree + [DIFFERS] * differ, classes, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("agree", "differ"), [(0, 5), (1, 0), (17, 3), (51, 9)])
def test_without_mistakes_it_is_a_beta_distribution(agree: int, differ: int) -> None:
    expected = stats.beta(agree + 1, differ + 1).ppf([0.025, 0.5, 0.975])
    found = of(agree, differ, gold=NO_MISTAKES)
    assert [found.low, found.accuracy, found.high] == pytest.approx(expected.tolist(), abs=5e-4)


def test_one_answer_by_hand() -> None:
    """Two classes: P(agrees | accuracy q) = q (1 - m) + (1 - q) m with m the mean error rate of the prior below 1/2.

    The density of q is twice that, and its distribution function (1 - 2 m) q^2 + 2 m q.
    """
    a, b = PRIOR_ERROR
    mass = stats.beta(a, b).cdf(0.5)
    m = integrate.quad(lambda e: e * stats.beta(a, b).pdf(e), 0, 0.5)[0] / mass
    found = of(1, 0, classes=2)
    for level, value in zip((0.025, 0.5, 0.975), (found.low, found.accuracy, found.high), strict=True):
        assert (1 - 2 * m) * value**2 + 2 * m * value == pytest.approx(level, abs=1e-3)


def test_known_mistakes_are_corrected() -> None:
    """One gold answer in ten is wrong: of 10 classes, 730 in 1,000 agree where q (0.9) + (1 - q) 0.1 / 9 = 0.73."""
    found = of(730, 270, gold=(90_000, 100_000))
    assert found.accuracy == pytest.approx((0.73 - 0.1 / 9) / (0.9 - 0.1 / 9), abs=2e-3)
    assert found.low < found.accuracy < found.high
    assert found.error == pytest.approx(0.1, abs=2e-3)


def value(people: tuple[tuple[int, ...], ...], q: float, e: float, copying: float = 0.0, classes: int = 3) -> float:
    return float(_likelihood(people, classes, np.array(q), np.array(e), np.array(copying)))


def test_the_likelihood_by_hand() -> None:
    assert value(((0,),), 0.8, 0.1) == pytest.approx(0.8 * 0.9 + 0.2 * 0.05)
    two = 0.8 * 0.9 * 0.05 + 0.1 * 0.05 * 0.9 + 0.1 * 0.05**2  # the truth is class 0, 1 or 2
    assert value(((0,), (1,)), 0.8, 0.1) == pytest.approx(two)
    repeated = 0.8 * 0.9 * (0.3 + 0.7 * 0.9) + 0.2 * 0.05 * (0.3 + 0.7 * 0.05)
    assert value(((0, 0),), 0.8, 0.1, 0.3) == pytest.approx(repeated)


@pytest.mark.parametrize("shape", [(1,), (2,), (1, 1), (2, 1)])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_probabilities_of_all_answers_sum_to_one(shape: tuple[int, ...], classes: int) -> None:
    """`shape`: number of answers of each person."""
    total = 0.0
    for answers in product(range(classes), repeat=sum(shape)):
        left = iter(answers)
        people = tuple(tuple(next(left) for _ in range(length)) for length in shape)
        total += value(people, 0.7, 0.15, 0.4, classes)
    assert total == pytest.approx(1)


def test_it_rises_with_every_agreement() -> None:
    found = [of(agree, 20 - agree) for agree in range(21)]
    for name in ("low", "accuracy", "high"):
        assert (np.diff([getattr(one, name) for one in found]) > 0).all(), name


def test_what_is_known_of_the_mistakes_narrows_it() -> None:
    assert of(50, 10, gold=(40, 40)).width < of(50, 10).width
    assert of(50, 10, gold=(30, 40)).accuracy > of(50, 10).accuracy, "people who err disagree with a right policy"
    careful, careless = Audited(4, ((7,), (7,))), Audited(4, ((7,), (4,)))
    twice = [Audited(4, ((4,), (4,)))] * 50
    both = estimate_accuracy([*twice, *[careful] * 10], 10)
    torn = estimate_accuracy([*twice, *[careless] * 10], 10)
    assert both.error_high < torn.error_low
    assert both.high < torn.accuracy, "two people who say the same against the policy are right"


def test_agreeing_with_oneself_says_less_than_agreeing_with_others() -> None:
    others = estimate_accuracy([Audited(4, ((4,), (4,)))] * 40, 10)
    oneself = estimate_accuracy([Audited(4, ((4, 4),))] * 40, 10)
    assert others.error_high < oneself.error_high < of(40, 0).error_high + 1e-9


def test_class_numbers_do_not_matter() -> None:
    one = estimate_accuracy([Audited(0, ((0,), (1,))), Audited(2, ((5, 1),))] * 5, 10)
    other = estimate_accuracy([Audited(9, ((9,), (3,))), Audited(1, ((0, 7),))] * 5, 10)
    assert one == other


@pytest.mark.parametrize("classes", [2, 10])
def test_the_interval_covers_the_accuracy(classes: int) -> None:
    """Exactly, by the binomial distribution of the agreements; docs/audit.md names the case of 30 images in which it does not."""
    n = 60
    found = [of(agree, n - agree, classes) for agree in range(n + 1)]
    for error, accuracy in product((0.0, 0.05, 0.1), (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)):
        agree = accuracy * (1 - error) + (1 - accuracy) * error / (classes - 1)
        probability = stats.binom.pmf(np.arange(n + 1), n, agree)
        covered = sum(p for p, one in zip(probability, found, strict=True) if one.low <= accuracy <= one.high)
        assert covered >= 0.93, (error, accuracy)


def test_enough_or_more() -> None:
    many, few = [AGREES] * 180 + [DIFFERS] * 20, [AGREES] * 18 + [DIFFERS] * 2
    assert verdict(estimate_accuracy(many, 10), 0.2, many, 10)[0] == ENOUGH
    short, reason = verdict(estimate_accuracy(few, 10), 0.2, few, 10)
    assert short == MORE
    more = int(reason.split("about ")[1].split(" ")[0].replace(",", ""))
    times = (20 + more) / 20
    assert more % 10 == 0
    assert estimate_accuracy(few, 10, times=times).width <= 0.2 < estimate_accuracy(few, 10, times=times - 1).width
    short, reason = verdict(estimate_accuracy(many, 10), 0.02, many, 10)
    assert short == MORE
    assert "mistakes" in reason, "no number of answers tells mistakes of the policy from those of one annotator"


def test_a_multiple_counts_images_so_often() -> None:
    assert of(9, 3, times=2.0).width == pytest.approx(of(18, 6).width)
    assert math.isclose(of(9, 3, times=2.0).accuracy, of(18, 6).accuracy)


def test_nothing_to_estimate_from() -> None:
    with pytest.raises(ValueError, match="an audited image"):
        estimate_accuracy([], 10)
