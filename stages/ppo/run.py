"""Stage two: PPO on the policy against the frozen reward model, with a KL penalty to the frozen reference (docs/method.md 3-5).

Classifying an image is an episode of one step. Reward model and reference are frozen and transforms deterministic, so
the scores of both are computed once; an iteration costs forward and backward passes of the policy's trainable suffix
alone. Everything runs in eval mode: a BatchNorm or dropout layer in train mode would make the ratio differ from 1
before the first step.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import click
import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.config import Config
from pipeline.data.feature_cache import Features
from pipeline.data.labelled import labelled_rows, read_labelled
from pipeline.errors import UserError
from pipeline.learning.environment import Environment
from pipeline.learning.objective import policy_metrics
from pipeline.models.adapters import save_trained
from pipeline.models.backbone import Split
from pipeline.models.policy import log_policy
from pipeline.run.atomic_files import sha256_of, write_atomically
from pipeline.run.checkpoints import Checkpoints
from pipeline.run.run_folder import RunFolder
from pipeline.run.stage_lock import one_process
from pipeline.run.workspace import Workspace, open_workspace
from pipeline.tracking.metrics_log import Metrics
from stages.ppo.audit import update_estimate
from stages.ppo.evaluate import Evaluator, evaluate
from stages.ppo.guards import Diverged, IterateSelection, OverOptimisationCheck, check_divergence, refuse_chance
from stages.ppo.learner import Learner
from stages.ppo.over_optimisation_plot import over_optimisation
from stages.ppo.start import choose_start
from stages.ppo.update import update

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PPOResult:
    """How PPO ended.

    Attributes:
        beta: the controller's at the end.
        iteration: number of updates before the policy that was kept.
        images: that went forward and backward, all updates together.
        stopped: why PPO stopped early, or None.
    """

    beta: float
    iteration: int
    images: int
    stopped: str | None = None


@one_process("ppo")
def run(config: Config, force: bool = False, *, chance_allowed: bool = False) -> bool:
    """Make runs/<name>/ppo/, with `chance_allowed` by any reward model. Returns whether there was anything to do."""
    stage = RunFolder(config).stage("ppo")
    ws = open_workspace(config)
    reference = ws.run.require("reference", "model.safetensors")
    reward_file = ws.run.require("reward", "model.safetensors")
    inputs = {"images": ws.table.fingerprint, "reference": sha256_of(reference), "reward": sha256_of(reward_file)}
    checkpoints = stage.checkpoints(inputs, "iteration", ws.runtime, force)
    if stage.is_current(inputs) and not force:
        checkpoints.clear()
        update_estimate(ws)
        return False
    if not (force or chance_allowed):
        refuse_chance(ws)
    if ws.runtime.is_main:
        stage.begin()
    environment = Environment.open(ws)
    start = choose_start(environment)
    with stage.metrics(inputs, ws.runtime) as metrics, checkpoints:
        ended = optimise(environment, start.pieces, start.features, metrics=metrics, checkpoints=checkpoints)
    environment.check_frozen()
    log_pi = log_policy(ws.scores(start.pieces, start.features))
    update_estimate(ws, log_pi)
    if ws.runtime.is_main:
        saved = save_trained(stage.path, start.pieces.network, ws.header("policy"))
        write_atomically(stage.path / "over_optimisation.svg", over_optimisation(metrics.rows).encode())
        result = evaluate(environment, log_pi, ended.beta) | {"estimator": config.ppo.estimator, **asdict(ended)}
        result |= {"start": start.name, "J_start": start.J}
        outputs = [*saved, "metrics.csv", "over_optimisation.svg"]
        stage.finish(inputs, outputs, {"policy": result})
        checkpoints.clear()
    ws.runtime.wait()
    return True


# What the progress bar shows, and its column in metrics.csv.
PROGRESS_COLUMNS = {
    "J": "J",
    "attained": "attained",
    "held-out": "attained_heldout",
    "KL": "kl",
    "clipped": "clip_fraction",
    "accuracy": "accuracy_heldout",
}


def optimise(
    environment: Environment, pieces: Split, features: Features, *, metrics: Metrics, checkpoints: Checkpoints
) -> PPOResult:
    """PPO, from the newest checkpoint if there is one; changes the policy in place.

    A row of metrics describes the policy before an update, and that update; the last row, the final policy.
    """
    ws = environment.ws
    config = ws.config.ppo
    learner = Learner.start(
        config,
        ws.runtime,
        pieces,
        ws.rows("train"),
        seed=ws.config.seed,
        beta=environment.beta,
        labelled=labelled_images(ws),
    )
    evaluator = Evaluator(environment, pieces.suffix, features)
    selection, over_optimisation_check = IterateSelection(config.kept), OverOptimisationCheck()
    iteration, images, stopped = 0, 0, None
    if saved := checkpoints.latest():
        learner.restore(saved["learner"])
        selection = IterateSelection(**saved["keeper"])
        over_optimisation_check = OverOptimisationCheck(**saved["watch"])
        metrics.resume(saved["rows"], saved["columns"])
        iteration, images = saved["iteration"], saved["images"]
    bar = tqdm(total=config.iterations, initial=iteration, desc="ppo", unit="iteration", leave=False, disable=None)
    while True:
        beta, lr = learner.controller.beta, learner.set_lr(iteration)
        inputs, log_ref, reward = environment.inputs(
            features, learner.batches.next(), learner.random, views=config.augment
        )
        if config.refresh_batchnorm:
            learner.refresh_batchnorm(inputs)
        row: dict[str, float | None] = {"iteration": iteration, "images": images, "beta": beta, "lr": lr}
        measured: dict[str, float] = {}
        try:
            rollout = learner.act(inputs, log_ref, reward)
            policy, heldout = policy_metrics(rollout.log_old, log_ref, reward, beta), evaluator.evaluate_heldout(beta)
            row |= asdict(policy) | heldout | evaluator.evaluate_all(beta, iteration)
            check_divergence(policy, config)
            selection.consider(iteration, heldout["J_heldout"], learner.weights())
            over_optimisation_check.check(iteration, heldout)
            if iteration < config.iterations:
                measured = update(learner, rollout)
        except Diverged as reason:
            stopped = str(reason)
        metrics.add(**row, **measured)
        if stopped or iteration == config.iterations:
            break
        learner.controller = learner.controller.after(policy.kl, len(inputs))
        iteration, images = iteration + 1, images + round(measured["update_images"])
        bar.update()
        values = {name: (row | measured).get(key) for name, key in PROGRESS_COLUMNS.items()}
        bar.set_postfix({name: f"{value:.3g}" for name, value in values.items() if value is not None}, refresh=False)
        state = partial(state_of, learner, selection, over_optimisation_check, metrics)
        checkpoints.offer(iteration, partial(state, iteration=iteration, images=images))
    bar.close()
    return finish(learner, selection, images, stopped)


def state_of(
    learner: Learner,
    selection: IterateSelection,
    over_optimisation_check: OverOptimisationCheck,
    metrics: Metrics,
    *,
    iteration: int,
    images: int,
) -> dict[str, Any]:
    """All that the loop needs to resume; keys are those of earlier versions, whose checkpoints stay readable."""
    return {
        "learner": learner.state(),
        "keeper": dict(vars(selection)),
        "watch": dict(vars(over_optimisation_check)),
        "rows": list(metrics.rows),
        "columns": metrics.columns,
        "iteration": iteration,
        "images": images,
    }


def finish(learner: Learner, selection: IterateSelection, images: int, stopped: str | None) -> PPOResult:
    """Load the weights that are to be kept into the policy, and warn where PPO had to stop."""
    kept, weights = selection.select()
    learner.suffix.load_state_dict(weights)
    if learner.critic:
        learner.critic.detach()
    if stopped:
        log.warning(
            "PPO stopped: %s. Kept is the policy after iteration %d; lower ppo.lr, or raise ppo.beta or ppo.max_kl",
            stopped,
            kept,
        )
    return PPOResult(learner.controller.beta, kept, images, stopped)


def labelled_images(ws: Workspace) -> tuple[Tensor, Tensor] | None:
    """Rows and classes of the images the reference was trained on, for PPO-ptx; None if it is not asked for.

    Raises:
        UserError: there are none.
    """
    if not ws.config.ppo.ptx:
        return None
    path = ws.run.require("reference", "labelled.csv")
    images = [image for image, _ in read_labelled(path)]
    if not images:
        raise UserError(
            f"ppo.ptx: {path} lists no labelled images to learn from; set reference.labelled_per_class, "
            "and no reference.checkpoint"
        )
    if gone := [image for image in images if image not in ws.table.position]:
        raise UserError(
            f"ppo.ptx: {path} names the image {gone[0]}, which is no longer there; run `make reference` again"
        )
    classes = labelled_rows(path, ws.table.position, ws.classes)
    return torch.tensor(list(classes)), torch.tensor(list(classes.values()))


def describe(summary: dict[str, Any]) -> str:
    """One line for the terminal."""
    policy = summary["policy"]
    accuracy = "" if policy["accuracy"] is None else f"accuracy {policy['accuracy']:.1%}, "
    start = "the reward model" if policy.get("start") == "reward" else "the reference"
    estimate = policy.get("estimate")
    audited = (
        ""
        if estimate is None
        else f"audited {estimate['accuracy']:.1%} [{estimate['low']:.1%}, {estimate['high']:.1%}], "
    )
    early = f"; stopped early and kept iteration {policy['iteration']}" if policy["stopped"] else ""
    return (
        click.style("ppo", bold=True)
        + f"        {accuracy}{audited}{policy['attained']:.1%} of the way from the reference to the exact optimum "
        f"({policy['attained_heldout']:.1%} on held-out images), KL {policy['kl']:.2f} nats, beta {policy['beta']:.3g}, started from {start}{early}"
    )
