"""Stage two: PPO on the policy against the frozen reward model, with a KL penalty to the frozen reference (METHOD 3-5).

Classifying an image is an episode of one step. Reward model and reference are frozen and transforms deterministic, so
both are tables made once; an iteration costs forward and backward passes of the policy's trainable suffix alone.
Everything runs in eval mode: a BatchNorm or dropout layer in train mode would make the ratio differ from 1 before
anything was learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.config import Config, PPOConfig
from pipeline.errors import UserError
from pipeline.features import Features
from pipeline.files import read_json, sha256_of
from pipeline.gold import folder_labels
from pipeline.metrics import gold_accuracy
from pipeline.models.backbone import Split
from pipeline.models.files import save_model
from pipeline.models.policy import log_policy
from pipeline.objective import Standing, entropy, standing
from pipeline.optim import adamw, set_lr, warmup_linear
from pipeline.run_folder import RunFolder
from pipeline.runtime import Runtime, generator, minibatches
from pipeline.scores import score
from pipeline.tracking import Metrics
from pipeline.workspace import Workspace, open_workspace
from stages.ppo.batchnorm import refresh_batchnorm
from stages.ppo.environment import Environment, forward
from stages.ppo.kl_controller import KLController
from stages.ppo.loss import approx_kl, clip_fraction, expected_surrogate, sampled_surrogate
from stages.ppo.rollout import Rollout, make_rollout

RATIO_TOLERANCE = 1e-4


def run(config: Config, force: bool = False) -> bool:
    """Make runs/<name>/ppo/. Returns whether there was anything to do."""
    stage = RunFolder(config).stage("ppo")
    ws = open_workspace(config)
    reference = ws.run.require("reference", "model.safetensors")
    reward_file = ws.run.require("reward", "model.safetensors")
    inputs = {"images": ws.table.fingerprint, "reference": sha256_of(reference), "reward": sha256_of(reward_file)}
    if stage.is_current(inputs) and not force:
        return False
    if not force:
        refuse_chance(ws)
    if ws.runtime.is_main:
        stage.begin()
    environment = Environment.open(ws)
    pieces, features = ws.cut(ws.load_policy(reference))
    with Metrics(stage.path / "metrics.csv" if ws.runtime.is_main else None) as metrics:
        beta = optimise(environment, pieces, features, metrics)
    if ws.runtime.is_main:
        save_model(stage.path / "model.safetensors", pieces.network, ws.header("policy"))
        log_pi = log_policy(ws.scores(pieces, features))
        result = evaluate(environment, log_pi, beta) | {"estimator": config.ppo.estimator, "beta": beta}
        stage.finish(inputs, ["model.safetensors", "metrics.csv"], {"policy": result})
    ws.runtime.wait()
    return True


def refuse_chance(ws: Workspace) -> None:
    """Raise UserError if the reward model's card says that it is no better than chance: PPO would align with noise."""
    verdict = read_json(ws.run.require("reward", "card.json"))["verdict"]
    if verdict["short"] == "no better than chance":
        raise UserError(
            f"the reward model is no better than chance ({verdict['why']}); see {ws.run.path / 'reward' / 'card.html'}, or go "
            "on all the same with FORCE=1"
        )


def optimise(environment: Environment, pieces: Split, features: Features, metrics: Metrics) -> float:
    """PPO; changes the policy in place and returns the last beta."""
    ws = environment.ws
    config, runtime = ws.config.ppo, ws.runtime
    controller = KLController(config.beta, config.kl_target, config.kl_horizon)
    policy, optimiser = runtime.prepare(pieces.suffix), adamw(pieces.suffix.parameters(), config.lr, eps=1e-5)
    random = generator(ws.config.seed, 30)
    batches = _endless_batches(ws.rows("train"), config.batch_size, random)
    for iteration in tqdm(range(1, config.iterations + 1), "ppo", unit="iteration", leave=False, disable=None):
        set_lr(optimiser, config.lr * warmup_linear(iteration - 1, config.iterations, config.warmup_fraction))
        rows = next(batches)
        inputs, log_ref, reward = environment.inputs(features, rows, random)
        if config.refresh_batchnorm:
            refresh_batchnorm(pieces.suffix, inputs)
        log_old = log_policy(forward(pieces.suffix, inputs))
        rollout = make_rollout(inputs, log_old, log_ref, reward, controller.beta, random)
        measured = update(policy, optimiser, rollout, config, runtime, random, first=iteration == 1)
        before = standing(log_old, rollout.log_ref, rollout.reward, controller.beta)
        metrics.add(
            iteration=iteration, images=iteration * len(rows), **asdict(before), **measured, beta=controller.beta,
            lr=optimiser.param_groups[0]["lr"], **_full_evaluation(environment, pieces, features, controller.beta, iteration),
        )  # fmt: skip
        controller = controller.after(before.kl, len(rows))
    return controller.beta


def update(
    policy: nn.Module, optimiser: torch.optim.Optimizer, rollout: Rollout, config: PPOConfig,
    runtime: Runtime, random: torch.Generator, first: bool = False,
) -> dict[str, float]:  # fmt: skip
    """Epochs of minibatch steps on one rollout; stops before the step at which approx_kl passes 1.5 times its target."""
    policy.eval()
    position = torch.arange(len(rollout.inputs))
    sums = {"approx_kl": 0.0, "clip_fraction": 0.0, "grad_norm": 0.0, "surrogate": 0.0}
    steps = 0
    for _ in range(config.epochs):
        for batch in minibatches(position, config.minibatch_size, random):
            part = runtime.share(batch)
            log_new = log_policy(policy(rollout.inputs.batch(part)))
            log_old, advantage = rollout.log_old[part].to(log_new.device), rollout.advantage[part].to(log_new.device)
            if first and not steps:
                check_ratio(log_new.detach(), log_old)
            with torch.no_grad():
                sizes = torch.stack(
                    [approx_kl(log_new, log_old).sum(), clip_fraction(log_new, log_old, config.clip).sum()]
                )
                moved, outside = (runtime.total(sizes) / len(batch)).tolist()
            if config.target_kl and moved > 1.5 * config.target_kl:
                return _means(sums, steps)
            if config.estimator == "expected":
                surrogate = expected_surrogate(log_new, log_old, advantage, config.clip)
            else:
                surrogate = sampled_surrogate(
                    log_new, log_old, rollout.actions[part].to(log_new.device), advantage, config.clip
                )
            loss = -(surrogate + config.entropy_bonus * entropy(log_new)).sum() * runtime.world / len(batch)
            optimiser.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_((p for p in policy.parameters() if p.requires_grad), config.max_grad_norm)
            optimiser.step()
            steps += 1
            for name, value in (
                ("approx_kl", moved),
                ("clip_fraction", outside),
                ("grad_norm", norm),
                ("surrogate", -loss.detach()),
            ):
                sums[name] += float(value)
    return _means(sums, steps)


def _means(sums: dict[str, float], steps: int) -> dict[str, float]:
    return {name: value / max(1, steps) for name, value in sums.items()} | {"steps": steps}


def check_ratio(log_new: Tensor, log_old: Tensor) -> None:
    """Before the first step the policy that learns is the policy that acted: every ratio must be 1.

    Raises:
        UserError: it is not; something in the policy is not deterministic.
    """
    worst = float(((log_new - log_old).exp() - 1).abs().max())
    if not worst < RATIO_TOLERANCE:
        raise UserError(
            f"before the first step the ratio of new to old policy differs from 1 by {worst:.3g}: a layer is in train mode "
            "(BatchNorm, dropout) or a transform is random, and PPO would learn from that noise"
        )


def _endless_batches(rows: Tensor, size: int, random: torch.Generator) -> Iterator[Tensor]:
    """Rollouts' images: every image once before any comes again."""
    while True:
        yield from minibatches(rows, size, random)


def _full_evaluation(
    environment: Environment, pieces: Split, features: Features, beta: float, iteration: int
) -> dict[str, float | None]:
    """Exact standing on all training and held-out images and accuracy where gold exists, every so many iterations."""
    config = environment.ws.config.ppo
    if iteration % config.evaluate_every and iteration != config.iterations:
        return dict.fromkeys(("attained_train", "attained_heldout", "kl_heldout", "accuracy"))
    made = evaluate(environment, log_policy(score(pieces.suffix, features)), beta)
    keys = {
        "attained_train": "attained",
        "attained_heldout": "attained_heldout",
        "kl_heldout": "kl_heldout",
        "accuracy": "accuracy",
    }
    return {name: made[key] for name, key in keys.items()}


def evaluate(environment: Environment, log_pi: Tensor, beta: float) -> dict[str, Any]:
    """Where the policy stands, exactly, on the images PPO trains on and on held-out ones; log_pi is [N, C]."""

    ws = environment.ws

    def of(rows: Tensor) -> Standing:
        return standing(log_pi[rows], environment.log_ref[rows], environment.reward[rows], beta)

    train, heldout = of(ws.rows("train")), of(ws.rows("heldout"))
    gold = folder_labels(ws.table, ws.classes)
    return {
        "accuracy": gold_accuracy(log_pi, gold, ws.table.rows("evaluation")),
        **asdict(train),
        "attained_heldout": heldout.attained,
        "kl_heldout": heldout.kl,
        "J_heldout": heldout.J,
    }


def describe(summary: dict[str, Any]) -> str:
    """One line for the terminal."""
    made = summary["policy"]
    accuracy = "" if made["accuracy"] is None else f"accuracy {made['accuracy']:.1%}, "
    return (
        click.style("ppo", bold=True)
        + f"        {accuracy}{made['attained']:.1%} of the way from the reference to the exact optimum "
        f"({made['attained_heldout']:.1%} on held-out images), KL {made['kl']:.2f} nats"
    )
