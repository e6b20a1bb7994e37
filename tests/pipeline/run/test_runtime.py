"""How a process computes."""

from __future__ import annotations

import torch

from pipeline.config import RuntimeConfig
from pipeline.run.runtime import start


def test_factors_are_not_rounded_to_tf32() -> None:
    """Rounded, an image's log-probabilities depend on the batch it is in, and PPO refuses ratios that do not start at 1."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    start(RuntimeConfig())
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (False, False)
