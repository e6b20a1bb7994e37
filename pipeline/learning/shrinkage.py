"""Offsets of kinds and persons by partial pooling: a linear model with two crossed random effects (METHOD 10)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Huber's limit, in standard deviations of an answer: beyond it, an answer counts as if it were this far away.
OUTLIER = 2.5
# Mean of min(z^2, OUTLIER^2) of a standard normal z, by which variances of limited residuals are divided.
LIMITED_VARIANCE = 0.97756
# The prior of the variances counts as this many answers and persons.
PRIOR_ANSWERS = 10
PRIOR_PERSONS = 3
MAX_ROUNDS = 500
TOLERANCE = 1e-7  # relative change of both variances


@dataclass(frozen=True)
class Variances:
    """Of the offsets of kinds, of those of persons, and of one answer around both."""

    kind: float
    person: float
    answer: float


@dataclass(frozen=True, eq=False)
class Offsets:
    """Posterior means of the offsets.

    Attributes:
        kind: [K].
        person: [P].
        uncertainty: [K, P] posterior variances of the sums of both.
        person_uncertainty: [P] posterior variances of the persons' offsets.
        variances: that were used.
        residuals: [M] of the values.
    """

    kind: np.ndarray
    person: np.ndarray
    uncertainty: np.ndarray
    person_uncertainty: np.ndarray
    variances: Variances
    residuals: np.ndarray


def fit_offsets(values: np.ndarray, kind: np.ndarray, person: np.ndarray, start: Variances) -> Offsets:
    """Offsets by empirical Bayes: the variances of persons and answers are estimated by EM, that of kinds is kept.

    Values far from the rest (somebody went for a coffee) get less weight, by Huber's rule.

    Args:
        values: [M >= 1].
        kind: [M] numbers from 0 of the kinds; every number occurs.
        person: [M] likewise of the persons.
        start: prior variances.
    """
    variances, weights = start, np.ones(len(values))
    for _ in range(MAX_ROUNDS):
        found = shrink(values, kind, person, variances, weights)
        square = found.residuals**2
        limit = OUTLIER**2 * variances.answer
        weights = np.sqrt(limit / np.maximum(square, limit))
        answers = (np.minimum(square, limit) / LIMITED_VARIANCE + found.uncertainty[kind, person]).sum()
        persons = (found.person**2 + found.person_uncertainty).sum()
        before, variances = (
            variances,
            Variances(
                start.kind,
                (PRIOR_PERSONS * start.person + persons) / (PRIOR_PERSONS + len(found.person)),
                (PRIOR_ANSWERS * start.answer + answers) / (PRIOR_ANSWERS + len(values)),
            ),
        )
        change = max(abs(variances.person / before.person - 1), abs(variances.answer / before.answer - 1))
        if change < TOLERANCE:
            break
    return found


def shrink(
    values: np.ndarray, kind: np.ndarray, person: np.ndarray, variances: Variances, weights: np.ndarray
) -> Offsets:
    """Posterior of the offsets under known variances, in closed form.

    Value m has the mean kind offset + person offset and the variance `variances.answer / weights[m]`; offsets have mean 0.

    Args:
        values, kind, person: as in `fit_offsets`.
        weights: [M] of the values, 1 for an ordinary one.
    """
    shape = (int(kind.max()) + 1, int(person.max()) + 1)
    cell = kind * shape[1] + person
    precision = np.bincount(cell, weights, shape[0] * shape[1]).reshape(shape) / variances.answer
    pull = np.bincount(cell, weights * values, shape[0] * shape[1]).reshape(shape) / variances.answer
    # Given the kinds, persons are independent, so that only a system of as many equations as kinds is solved.
    of_person = precision.sum(0) + 1 / variances.person
    regression = precision / of_person
    of_kind = np.diag(precision.sum(1) + 1 / variances.kind) - regression @ precision.T
    kind_covariance = np.linalg.inv(of_kind)
    kind_offset = kind_covariance @ (pull.sum(1) - regression @ pull.sum(0))
    person_offset = pull.sum(0) / of_person - kind_offset @ regression
    covariance = -kind_covariance @ regression  # [K, P] between a kind and a person
    person_uncertainty = 1 / of_person - (regression * covariance).sum(0)
    return Offsets(
        kind_offset,
        person_offset,
        np.diag(kind_covariance)[:, None] + person_uncertainty + 2 * covariance,
        person_uncertainty,
        variances,
        values - kind_offset[kind] - person_offset[person],
    )
