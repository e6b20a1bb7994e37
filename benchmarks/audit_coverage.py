"""How often the 95 % interval of the audited accuracy covers the true one, and its median width (docs/audit.md).

    python -m benchmarks.audit_coverage [--repeated 0.2] [--repetitions 1000]

Answers are simulated: no image and no model. Without repeated answers the coverage is an exact sum.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import cache
from itertools import product

import numpy as np

from pipeline.learning.audit_estimate import AccuracyEstimate, Audited, estimate_accuracy

CLASSES, IMAGES, ERRORS = (2, 10), (30, 60, 120), (0.0, 0.05, 0.1, 0.2)
ACCURACIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)

Patterns = tuple[tuple[tuple[int, ...], int], ...]


@cache
def estimated(patterns: Patterns, classes: int) -> AccuracyEstimate:
    """From how often each sequence of answers of one person was given; class 0 is the policy's."""
    return estimate_accuracy([Audited(0, (own,)) for own, count in patterns for _ in range(count)], classes)


def exact(accuracy: float, error: float, images: int, classes: int) -> tuple[float, float]:
    """Coverage and median width with one answer per image."""
    from scipy import stats  # slow to import, also for those who import this module

    found = [
        estimated(tuple((own, n) for own, n in (((0,), k), ((1,), images - k)) if n), classes)
        for k in range(images + 1)
    ]
    agree = accuracy * (1 - error) + (1 - accuracy) * error / (classes - 1)
    probability = stats.binom.pmf(np.arange(images + 1), images, agree)
    covered = sum(p for p, one in zip(probability, found, strict=True) if one.low <= accuracy <= one.high)
    median = int(np.searchsorted(probability.cumsum(), 0.5))
    return float(covered), found[median].width


def simulated(
    accuracy: float, error: float, images: int, classes: int, *, repeated: float, repetitions: int
) -> tuple[float, float]:
    """The same with a share of the images answered twice by the same person, whose mistakes are independent."""
    random = np.random.default_rng(0)
    twice, covered, widths = round(repeated * images), 0, []
    for _ in range(repetitions):
        truth = np.where(random.random(images) < accuracy, 0, random.integers(1, classes, images))
        mistaken = random.random((2, images)) < error
        answers = np.where(mistaken, (truth + random.integers(1, classes, (2, images))) % classes, truth)
        given = Counter(_renumbered(tuple(answers[: 1 + (n < twice), n].tolist())) for n in range(images))
        one = estimated(tuple(sorted(given.items())), classes)
        covered += one.low <= accuracy <= one.high
        widths.append(one.width)
    return covered / repetitions, float(np.median(widths))


def _renumbered(answers: tuple[int, ...]) -> tuple[int, ...]:
    number = {0: 0}
    return tuple(number.setdefault(answer, len(number)) for answer in answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeated", type=float, default=0.0, help="share of the images that are answered twice")
    parser.add_argument("--repetitions", type=int, default=1000, help="simulated data sets of each case")
    options = parser.parse_args()
    print("| classes | images | mistakes | " + " | ".join(f"accuracy {a:.0%}" for a in ACCURACIES) + " |")
    print("| --- " * (3 + len(ACCURACIES)) + "|")
    for classes, images, error in product(CLASSES, IMAGES, ERRORS):
        cells = []
        for accuracy in ACCURACIES:
            if options.repeated:
                share, width = simulated(
                    accuracy,
                    error,
                    images,
                    classes,
                    repeated=options.repeated,
                    repetitions=options.repetitions,
                )
            else:
                share, width = exact(accuracy, error, images, classes)
            cells.append(f"{share:.1%} ({width:.2f})")
        print(f"| {classes} | {images} | {error:.0%} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
