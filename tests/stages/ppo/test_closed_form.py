"""The gradient of a linear head in closed form is autograd's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from pipeline.config.ppo import PPOConfig
from pipeline.data.feature_cache import BATCH, Features
from pipeline.learning.environment import Inputs
from pipeline.run.runtime import generator
from stages.ppo.learner import Learner
from stages.ppo.loss import logits_gradient, ppo_loss
from stages.ppo.rollout import make_rollout
from stages.ppo.update import update

BETA = 0.7


@pytest.fixture
def problem() -> tuple[Tensor, Tensor, Tensor]:
    """logits [N, C] that require a gradient, log pi_ref, reward; double precision."""
    random = torch.Generator().manual_seed(5)
    draw = torch.randn(3, 6, 4, generator=random, dtype=torch.double)
    return draw[0].requires_grad_(), torch.log_softmax(draw[1], -1), draw[2]


@pytest.mark.parametrize("penalty", ["current", "old"])
@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize("entropy_bonus", [0.0, 0.05])
def test_closed_form_for_logits(
    problem: tuple[Tensor, Tensor, Tensor],
    given: Callable[[Tensor], Inputs],
    penalty: Literal["current", "old"],
    clip: float | None,
    entropy_bonus: float,
) -> None:
    """`logits_gradient` is autograd's gradient of the loss, far enough from the old policy that some classes are clipped."""
    logits, log_ref, reward = problem
    config = PPOConfig(penalty=penalty, clip=clip, entropy_bonus=entropy_bonus)
    log_old = torch.log_softmax(logits.detach() + 0.4 * torch.randn(6, 4, generator=generator(2)).double(), -1)
    rollout = make_rollout(given(reward), log_old, log_ref, reward, beta=BETA, random=generator(1))
    log_new = torch.log_softmax(logits, -1)
    batch = rollout.minibatch(torch.arange(6), log_new)
    expected = torch.autograd.grad(ppo_loss(batch, config, BETA), logits)[0]
    closed = logits_gradient(replace(batch, log_new=log_new.detach()), config, BETA)
    assert closed.numpy() == pytest.approx(expected.numpy(), abs=1e-12)
    if clip:
        free = config.model_copy(update={"clip": None})
        unclipped = logits_gradient(replace(batch, log_new=log_new.detach()), free, BETA)
        assert not torch.allclose(unclipped, closed)


def test_a_head_learns_the_same_in_closed_form(
    problem: tuple[Tensor, Tensor, Tensor], train: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole runs with and without autograd, clipped in between."""
    x, (_, log_ref, reward) = torch.randn(6, 3, generator=generator(3)), problem
    config = PPOConfig(beta=BETA, iterations=5, epochs=3, minibatch_size=4, lr=0.1, target_kl=None)
    heads = [torch.nn.Linear(3, 4) for _ in range(2)]
    heads[1].load_state_dict(heads[0].state_dict())
    closed = train(heads[0], x, log_ref.float(), reward.float(), config)
    monkeypatch.setattr("stages.ppo.learner.Learner.closed_form", False)
    plain = train(heads[1], x, log_ref.float(), reward.float(), config)
    assert closed.numpy() == pytest.approx(plain.numpy(), abs=1e-4)
    assert (closed - log_ref).abs().max() > 0.1


def test_inputs_are_read_in_parts(
    make_learner: Callable[..., Learner], given: Callable[[Tensor], Inputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they are not cached, a frozen network computes them: a large rollout must not take its memory at once."""
    sizes, real = [], Features.batch
    monkeypatch.setattr(Features, "batch", lambda self, rows: (sizes.append(len(rows)), real(self, rows))[1])
    head, x = torch.nn.Linear(3, 4), torch.randn(300, 3, generator=generator(3))
    learner = make_learner(head, 300, PPOConfig(epochs=1))
    uniform = torch.full((300, 4), 0.25).log()
    update(learner, learner.act(given(x), uniform, torch.randn(300, 4, generator=generator(4))))
    assert max(sizes) <= BATCH < 300
