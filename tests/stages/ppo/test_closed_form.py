"""The gradient of a linear head in closed form is autograd's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor

from pipeline.config.ppo import PPOConfig
from pipeline.data.feature_cache import BATCH, Features
from pipeline.learning.environment import Inputs
from pipeline.run.processes import Share
from pipeline.run.runtime import Runtime, generator
from stages.ppo.head_steps import HeadSteps
from stages.ppo.learner import Learner
from stages.ppo.loss import Minibatch, ppo_loss
from stages.ppo.network_steps import NetworkSteps
from stages.ppo.rollout import Rollout, make_rollout
from stages.ppo.update import update

BETA = 0.7
CPU = torch.device("cpu")


@pytest.fixture
def problem() -> tuple[Tensor, Tensor, Tensor]:
    """logits [N, C] that require a gradient, log pi_ref, reward; double precision."""
    random = torch.Generator().manual_seed(5)
    draw = torch.randn(3, 6, 4, generator=random, dtype=torch.double)
    return draw[0].requires_grad_(), torch.log_softmax(draw[1], -1), draw[2]


@pytest.mark.parametrize("penalty", ["current", "old"])
@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize("entropy_bonus", [0.0, 0.05])
def test_closed_form_of_a_head(
    problem: tuple[Tensor, Tensor, Tensor],
    given: Callable[[Tensor], Inputs],
    make_learner: Callable[..., Learner],
    penalty: Literal["current", "old"],
    clip: float | None,
    entropy_bonus: float,
) -> None:
    """Autograd's gradients and measurements, far enough from the old policy that some classes are clipped."""
    logits, log_ref, reward = (of.detach().float() for of in problem)
    head = torch.nn.Linear(4, 4)
    config = PPOConfig(beta=BETA, penalty=penalty, clip=clip, entropy_bonus=entropy_bonus)
    log_old = torch.log_softmax(head(logits).detach() + 0.4 * torch.randn(6, 4, generator=generator(2)), -1)
    learner = make_learner(head, 6, config)
    rollout = make_rollout(given(logits), log_old, log_ref, reward, beta=BETA, random=generator(1), sampled=False)
    positions, share = torch.tensor([4, 0, 1, 5, 2]), learner.runtime.share(5)
    closed, plain = (steps(learner, rollout).forward(positions, share) for steps in (HeadSteps, NetworkSteps))
    assert closed.log_new.numpy() == pytest.approx(plain.log_new.detach().numpy(), abs=1e-6)
    assert closed.measure_change() == pytest.approx(plain.measure_change(), abs=1e-6)
    expected = torch.autograd.grad(ppo_loss(plain.batch, config, BETA), (head.weight, head.bias))
    for max_grad_norm in (1e9, 0.01):
        learner.config = closed.steps.config = config.model_copy(update={"max_grad_norm": max_grad_norm})
        norm, _ = closed.compute_gradients()
        whole = math.sqrt(sum(float(part.square().sum()) for part in expected))
        assert float(norm) == pytest.approx(whole, rel=1e-4)
        assert head.weight.grad is not None
        assert head.bias.grad is not None
        scale = min(1, max_grad_norm / whole)
        assert head.weight.grad.numpy() == pytest.approx(scale * expected[0].numpy(), abs=1e-6)
        assert head.bias.grad.numpy() == pytest.approx(scale * expected[1].numpy(), abs=1e-6)
    if clip:
        free = config.model_copy(update={"clip": None})
        unclipped = torch.autograd.grad(
            ppo_loss(plain_again(learner, rollout, positions), free, BETA), (head.weight, head.bias)
        )
        assert not torch.allclose(unclipped[0], expected[0], atol=1e-4)


def plain_again(learner: Learner, rollout: Rollout, positions: Tensor) -> Minibatch:
    return NetworkSteps(learner, rollout).forward(positions, learner.runtime.share(len(positions))).batch


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


def test_the_shares_of_several_processes_add_up(
    problem: tuple[Tensor, Tensor, Tensor], given: Callable[[Tensor], Inputs], make_learner: Callable[..., Learner]
) -> None:
    """Four processes and a minibatch of three images, so that one has none: their gradients are one process's in parts."""
    x, log_ref, reward = (of.detach().float() for of in problem)
    config = PPOConfig(beta=BETA, max_grad_norm=1e9)
    learner, positions = make_learner(torch.nn.Linear(4, 4), 6, config), torch.tensor([5, 0, 3])
    rollout = learner.act(given(x), log_ref, reward)
    passes = HeadSteps(learner, rollout)
    whole = passes.forward(positions, learner.runtime.share(3))
    whole.compute_gradients()
    expected, total = passes.gradient.clone(), torch.zeros_like(passes.gradient)
    for rank in range(4):
        passes.runtime = SeveralProcesses(CPU, rank, 4, whole.log_new)
        passes.forward(positions, passes.runtime.share(3)).compute_gradients()
        total += passes.gradient
    assert expected.abs().max() > 0.01
    assert total.numpy() == pytest.approx(expected.numpy(), abs=1e-7)


class SeveralProcesses(Runtime):
    """One of several processes, of which the others' outputs are known and the others' gradients are not added."""

    def __init__(self, device: torch.device, rank: int, world: int, outputs: Tensor) -> None:
        super().__init__(device, rank, world)
        object.__setattr__(self, "outputs", outputs)

    def gather(self, own: Tensor, share: Share) -> Tensor:
        outputs: Tensor = self.outputs  # type: ignore[attr-defined]
        assert torch.allclose(own, outputs[share.positions], atol=1e-6)
        return outputs

    def total(self, values: Tensor) -> Tensor:
        return values
