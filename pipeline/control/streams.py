"""Random streams of control tasks: each is hashed from the run's seed, its purpose and the round."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch

from pipeline.run.runtime import generator


class ControlStream(IntEnum):
    """Purposes. Results depend on the values: never change or reuse one."""

    AGENT = 200
    ENVIRONMENTS = 201
    EVALUATION = 202
    QUESTIONS = 203
    ANSWERS = 204
    REWARD = 205
    RANDOM_ACTIONS = 206


def torch_stream(seed: int, purpose: ControlStream, number: int = 0) -> torch.Generator:
    return generator(seed, purpose, number)


def numpy_stream(seed: int, purpose: ControlStream, number: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed_number(seed, purpose, number))


def seed_number(seed: int, purpose: ControlStream, number: int = 0) -> int:
    """A seed for libraries that have random streams of their own."""
    return int(torch.randint(2**31 - 2**16, (1,), generator=torch_stream(seed, purpose, number)))
