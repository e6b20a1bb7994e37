"""How often the interval of the forecast of another minute covers the true gain (docs/live.md), on drawn learning curves.

Each audited image has a difficulty that it keeps in four rounds of five; one answer in twenty is a mistake.
"""

from __future__ import annotations

from collections.abc import Callable

import click
import numpy as np

from pipeline.learning.learning_curve import forecast_gain

CLASSES, ERROR, LASTING, AHEAD = 10, 0.05, 0.8, 60.0
CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "0.90 - 0.70 (1 + s/120)^-0.8": lambda s: 0.90 - 0.70 * (1 + s / 120) ** -0.8,
    "0.95 - 0.75 (1 + s/300)^-1": lambda s: 0.95 - 0.75 * (1 + s / 300) ** -1.0,
    "0.85 - 0.60 (1 + s/40)^-1.5": lambda s: 0.85 - 0.60 * (1 + s / 40) ** -1.5,
    "0.80 - 0.30 (1 + s/1000)^-0.6": lambda s: 0.80 - 0.30 * (1 + s / 1000) ** -0.6,
    "0.90 - 0.70 exp(-s/200)": lambda s: 0.90 - 0.70 * np.exp(-s / 200),
}


def agreement(accuracy: np.ndarray, images: int, random: np.random.Generator) -> np.ndarray:
    """[n, K] whether an answer about each image agrees with each of K policies."""
    shape = (images, len(accuracy))
    difficulty = np.where(random.random(shape) < LASTING, random.random((images, 1)), random.random(shape))
    right = (difficulty < accuracy).astype(float)
    mistaken = (random.random(shape) < 1 / (CLASSES - 1)) * (1 - right)
    return np.where(random.random((images, 1)) < ERROR, mistaken, right)


@click.command()
@click.option("--repetitions", default=200, show_default=True)
def main(repetitions: int) -> None:
    """Coverage of the 95 % interval, by curve, audited images and rounds."""
    click.echo("| accuracy after s seconds | images | rounds | true gain | expected | covered |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    for name, curve in CURVES.items():
        for images in (15, 40, 100):
            for rounds in (4, 10):
                seconds = np.arange(rounds + 1) * AHEAD
                gain = float(np.diff(curve(seconds[-1] + np.array([0.0, AHEAD])))[0])
                random = np.random.default_rng([images, rounds])
                made = []
                for seed in range(repetitions):
                    table = agreement(curve(seconds), images, random)
                    made.append(forecast_gain(seconds, table, AHEAD, classes=CLASSES, error=ERROR, seed=seed))
                covered = np.mean([one is not None and one.low <= gain <= one.high for one in made])
                expected = np.mean([one.gain for one in made if one is not None])
                click.echo(
                    f"| {name} | {images} | {rounds} | {100 * gain:.2f} | {100 * expected:.2f} | {covered:.0%} |"
                )


if __name__ == "__main__":
    main()
