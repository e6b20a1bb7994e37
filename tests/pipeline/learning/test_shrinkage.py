"""Crossed random effects: by hand, against the dense system of equations, and with planted parameters."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.learning.shrinkage import LIMITED_VARIANCE, OUTLIER, Variances, fit_offsets, shrink

ONE = Variances(kind=0.25, person=0.09, answer=0.36)


def test_one_person_and_one_kind_by_hand() -> None:
    """Mean 0.4 of four answers: variance 0.36 / 4 = 0.09; the kind gets 25 / 43 of the mean, the person 9 / 43."""
    zeros = np.zeros(4, int)
    found = shrink(np.array([0.2, 0.6, 0.3, 0.5]), zeros, zeros, ONE, np.ones(4))
    assert found.kind == pytest.approx([0.4 * 25 / 43])
    assert found.person == pytest.approx([0.4 * 9 / 43])
    assert found.residuals[0] == pytest.approx(0.2 - 0.4 * 34 / 43)
    # The sum of both has the prior variance 0.34, and an observation of variance 0.09.
    assert found.uncertainty == pytest.approx(np.array([[0.34 * 0.09 / 0.43]]))
    assert found.person_uncertainty == pytest.approx([0.09 * 0.34 / 0.43])


def test_two_persons_that_differ_by_hand() -> None:
    """Means +0.5 and -0.5: the kind stays at 0, each person keeps 0.09 / (0.09 + 0.36 / 4) = 1/2 of the mean."""
    person = np.repeat([0, 1], 4)
    found = shrink(np.repeat([0.5, -0.5], 4), np.zeros(8, int), person, ONE, np.ones(8))
    assert found.kind == pytest.approx([0.0], abs=1e-12)
    assert found.person == pytest.approx([0.25, -0.25])


def test_a_weight_of_one_half_is_half_an_answer() -> None:
    zeros = np.zeros(4, int)
    values = np.array([0.2, 0.6, 0.3, 0.5])
    half = shrink(np.repeat(values, 2), np.zeros(8, int), np.zeros(8, int), ONE, np.full(8, 0.5))
    assert half.kind == pytest.approx(shrink(values, zeros, zeros, ONE, np.ones(4)).kind)


def test_as_the_dense_system_of_equations() -> None:
    random = np.random.default_rng(0)
    kind, person = np.r_[0:3, random.integers(0, 3, 47)], np.r_[0:5, random.integers(0, 5, 45)]
    values, weights = random.normal(size=50), random.uniform(0.1, 1, 50)
    design = np.zeros((50, 8))
    design[np.arange(50), kind] = design[np.arange(50), 3 + person] = 1
    precision = (design.T * weights) @ design / ONE.answer + np.diag([1 / ONE.kind] * 3 + [1 / ONE.person] * 5)
    covariance = np.linalg.inv(precision)
    mean = covariance @ ((design.T * weights) @ values) / ONE.answer
    found = shrink(values, kind, person, ONE, weights)
    assert np.r_[found.kind, found.person] == pytest.approx(mean)
    assert found.person_uncertainty == pytest.approx(np.diag(covariance)[3:])
    sums = [[sum(covariance[a, b] for a in (k, 3 + p) for b in (k, 3 + p)) for p in range(5)] for k in range(3)]
    assert found.uncertainty == pytest.approx(np.array(sums))


def test_variances_count_what_the_offsets_leave_open() -> None:
    """One value, 0: no residual, but the offsets' posterior variances; the priors count as 10 answers and 3 persons."""
    found = fit_offsets(np.zeros(1), np.zeros(1, int), np.zeros(1, int), ONE)
    answer, person = found.variances.answer, found.variances.person
    both = 0.25 + person
    assert 11 * answer == pytest.approx(10 * 0.36 + both * answer / (both + answer), rel=1e-5)
    assert 4 * person == pytest.approx(3 * 0.09 + person - person**2 / (both + answer), rel=1e-5)


def test_planted_variances_are_found() -> None:
    random = np.random.default_rng(1)
    persons = random.normal(0, 0.4, 60)
    kind, person = random.integers(0, 2, 6000), np.r_[0:60, random.integers(0, 60, 5940)]
    values = np.array([0.3, -0.5])[kind] + persons[person] + random.normal(0, 0.25, 6000)
    found = fit_offsets(values, kind, person, ONE)
    assert found.variances.answer**0.5 == pytest.approx(0.25, abs=0.01)
    assert found.variances.person**0.5 == pytest.approx(persons.std(), abs=0.05)
    assert found.kind[0] - found.kind[1] == pytest.approx(0.8, abs=0.02)
    assert found.person - found.person.mean() == pytest.approx(persons - persons.mean(), abs=0.1)


def test_far_values_change_little() -> None:
    """One answer in 20 is 6 further: the mean moves by 0.3 without a limit, and the spread grows fivefold."""
    random = np.random.default_rng(2)
    zeros, values = np.zeros(2000, int), random.normal(0, 0.25, 2000)
    clean = fit_offsets(values, zeros, zeros, ONE)
    values[::20] += 6
    assert values.std() > 1.2
    found = fit_offsets(values, zeros, zeros, ONE)
    assert found.kind + found.person == pytest.approx(clean.kind + clean.person, abs=0.06)
    assert found.variances.answer**0.5 == pytest.approx(0.25, abs=0.06)


def test_the_limited_variance_of_a_standard_normal() -> None:
    z = np.linspace(-12, 12, 400_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    assert np.trapezoid(np.minimum(z**2, OUTLIER**2) * density, z) == pytest.approx(LIMITED_VARIANCE, abs=2e-5)
