"""Unit costs: for every stage a fixed part and a part per image, fitted to measured jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from benchmarks.cost_model.stage_costs import STAGES


@dataclass(frozen=True)
class Line:
    """fixed + each * images, neither below 0."""

    fixed: float
    each: float

    def at(self, images: float) -> float:
        return self.fixed + self.each * images

    @classmethod
    def fitted(cls, images: Sequence[float], values: Sequence[float]) -> Line:
        """The line of the smallest relative squared errors."""
        scale = 1 / np.maximum(np.asarray(values, dtype=float), 1e-9)
        design = np.stack([np.ones(len(images)), np.asarray(images, dtype=float)], axis=1)
        fixed, each = nnls(design * scale[:, None], np.asarray(values) * scale)[0]
        return cls(float(fixed), float(each))


@dataclass(frozen=True)
class UnitCosts:
    """By stage: seconds on the measured machine, and bytes stored."""

    seconds: Mapping[str, Line]
    bytes: Mapping[str, Line]
    cores: int

    def total_seconds(self, images: float) -> float:
        """Seconds of all stages one after the other."""
        return sum(line.at(images) for line in self.seconds.values())

    @classmethod
    def fitted(cls, jobs: Mapping[int, Mapping[str, Mapping[str, float]]], cores: int) -> UnitCosts:
        """Args:
        jobs: number of images to what `stage_costs.measure` returned.
        """
        sizes = sorted(jobs)

        def lines(what: str) -> dict[str, Line]:
            return {name: Line.fitted(sizes, [jobs[size][name][what] for size in sizes]) for name in STAGES}

        return cls(lines("seconds"), lines("bytes"), cores)
