"""Stage two: PPO on the policy against the frozen reward model, with a KL penalty to the frozen reference (METHOD 3-5).

Classifying an image is an episode of one step. Reward model and reference are frozen and transforms deterministic, so
both are tables made once; an iteration costs forward and backward passes of the policy's trainable suffix alone.
Everything runs in eval mode: a BatchNorm or dropout layer in train mode would make the ratio differ from 1 before
anything was learned.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import click
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.config import Config
from pipeline.data.feature_cache import Features
from pipeline.errors import UserError
from pipeline.learning.environment import Environment
from pipeline.learning.objective import standing
from pipeline.models.backbone import Split
from pipeline.models.policy import log_policy
from pipeline.models.serialization import save_model
from pipeline.run.atomic_files import sha256_of, write_atomically
from pipeline.run.checkpoints import Checkpoints
from pipeline.run.run_folder import RunFolder
from pipeline.run.stage_lock import one_process
from pipeline.run.workspace import Workspace, open_workspace
from pipeline.tracking.metrics_log import Metrics
from stages.ppo.batchnorm import refresh_batchnorm
from stages.ppo.evaluate import Gauge, evaluate
from stages.ppo.guards import Keeper, OverOptimisation, check_standing
from stages.ppo.learner import Learner
from stages.ppo.over_optimisation_plot import over_optimisation
from stages.ppo.rollout import Diverged
from stages.ppo.update import update


@dataclass(frozen=True)
class Aligned:
    """How PPO ended.

    Attributes:
        beta: in force at the end.
        iteration: how many updates the policy that was kept has seen.
        images: that went forward and backward, all updates together.
        stopped: why it stopped early, if it did.
    """

    beta: float
    iteration: int
    images: int
    stopped: str | None = None


@one_process("ppo")
def run(config: Config, force: bool = False) -> bool:
    """Make runs/<name>/ppo/. Returns whether there was anything to do."""
    stage = RunFolder(config).stage("ppo")
    ws = open_workspace(config)
    reference = ws.run.require("reference", "model.safetensors")
    reward_file = ws.run.require("reward", "model.safetensors")
    inputs = {"images": ws.table.fingerprint, "reference": sha256_of(reference), "reward": sha256_of(reward_file)}
    checkpoints = stage.checkpoints(inputs, "iteration", ws.runtime, force)
    if stage.is_current(inputs) and not force:
        checkpoints.clear()
        return False
    if not force:
        refuse_chance(ws)
    if ws.runtime.is_main:
        stage.begin()
    environment = Environment.open(ws)
    pieces, features = ws.cut(ws.load_policy(reference))
    with stage.metrics(inputs, ws.runtime) as metrics, checkpoints:
        made = optimise(environment, pieces, features, metrics, checkpoints)
    environment.check_frozen()
    if ws.runtime.is_main:
        save_model(stage.path / "model.safetensors", pieces.network, ws.header("policy"))
        write_atomically(stage.path / "over_optimisation.svg", over_optimisation(metrics.rows).encode())
        log_pi = log_policy(ws.scores(pieces, features))
        result = evaluate(environment, log_pi, made.beta) | {"estimator": config.ppo.estimator, **asdict(made)}
        outputs = ["model.safetensors", "metrics.csv", "over_optimisation.svg"]
        stage.finish(inputs, outputs, {"policy": result})
        checkpoints.clear()
    ws.runtime.wait()
    return True


def refuse_chance(ws: Workspace) -> None:
    """Raise UserError if the reward model's card says that it is no better than chance: PPO would align with noise."""
    verdict = ws.run.read("reward", "card.json", "verdict")["verdict"]
    if verdict["short"] == "no better than chance":
        raise UserError(
            f"the reward model is no better than chance ({verdict['why']}); see {ws.run.path / 'reward' / 'card.html'}, or go "
            "on all the same with FORCE=1"
        )


# What the progress bar shows, and the column of metrics.csv it is.
BAR = {
    "J": "J",
    "attained": "attained",
    "held-out": "attained_heldout",
    "KL": "kl",
    "clipped": "clip_fraction",
    "accuracy": "accuracy_heldout",
}


def optimise(
    environment: Environment, pieces: Split, features: Features, metrics: Metrics, checkpoints: Checkpoints
) -> Aligned:
    """PPO, from the newest checkpoint if there is one; changes the policy in place.

    A row of metrics describes the policy that acts, and then its update; the last row, the policy after the last one.
    """
    ws = environment.ws
    config = ws.config.ppo
    learner = Learner.start(config, ws.runtime, pieces, ws.rows("train"), ws.config.seed, labelled_images(ws))
    gauge, keeper, watch = Gauge(environment, pieces.suffix, features), Keeper(config.keep), OverOptimisation()
    iteration, images, stopped = 0, 0, None
    if saved := checkpoints.latest():
        learner.restore(saved["learner"])
        keeper, watch = Keeper(**saved["keeper"]), OverOptimisation(**saved["watch"])
        metrics.resume(saved["rows"], saved["columns"])
        iteration, images = saved["iteration"], saved["images"]
    bar = tqdm(total=config.iterations, initial=iteration, desc="ppo", unit="iteration", leave=False, disable=None)
    while True:
        beta, lr = learner.controller.beta, learner.set_lr(iteration)
        inputs, log_ref, reward = environment.inputs(features, learner.batches.next(), learner.random, config.augment)
        if config.refresh_batchnorm:
            refresh_batchnorm(pieces.suffix, inputs)
        row: dict[str, float | None] = {"iteration": iteration, "images": images, "beta": beta, "lr": lr}
        measured: dict[str, float] = {}
        try:
            rollout = learner.act(inputs, log_ref, reward)
            stands, heldout = standing(rollout.log_old, log_ref, reward, beta), gauge.heldout(beta)
            row |= asdict(stands) | heldout | gauge.everything(beta, iteration)
            check_standing(stands, config)
            keeper.consider(iteration, heldout["J_heldout"], learner.weights())
            watch.look(iteration, heldout)
            if iteration < config.iterations:
                measured = update(learner, rollout)
        except Diverged as reason:
            stopped = str(reason)
        metrics.add(**row, **measured)
        if stopped or iteration == config.iterations:
            break
        learner.controller = learner.controller.after(stands.kl, len(inputs))
        iteration, images = iteration + 1, images + round(measured["update_images"])
        bar.update()
        shown = {name: (row | measured).get(key) for name, key in BAR.items()}
        bar.set_postfix({name: f"{value:.3g}" for name, value in shown.items() if value is not None}, refresh=False)
        checkpoints.offer(iteration, partial(state_of, learner, keeper, watch, metrics, iteration, images))
    bar.close()
    return settle(learner, keeper, images, stopped)


def state_of(
    learner: Learner, keeper: Keeper, watch: OverOptimisation, metrics: Metrics, iteration: int, images: int
) -> dict[str, Any]:
    """All that the loop needs to go on as if nothing had happened."""
    return {
        "learner": learner.state(),
        "keeper": dict(vars(keeper)),
        "watch": dict(vars(watch)),
        "rows": list(metrics.rows),
        "columns": metrics.columns,
        "iteration": iteration,
        "images": images,
    }


def settle(learner: Learner, keeper: Keeper, images: int, stopped: str | None) -> Aligned:
    """Leave the policy with the weights that are to be kept, and say so where PPO had to stop."""
    kept, weights = keeper.choice()
    learner.suffix.load_state_dict(weights)
    if learner.critic:
        learner.critic.detach()
    if stopped:
        click.echo(
            f"warning: PPO stopped: {stopped}. Kept is the policy after iteration {kept}; lower ppo.lr, or raise "
            "ppo.beta or ppo.max_kl",
            err=True,
        )
    return Aligned(learner.controller.beta, kept, images, stopped)


def labelled_images(ws: Workspace) -> tuple[Tensor, Tensor] | None:
    """Rows and classes of the images the reference was trained on, for PPO-ptx; None if it is not asked for.

    Raises:
        UserError: there are none.
    """
    if not ws.config.ppo.ptx:
        return None
    path = ws.run.require("reference", "labelled.csv")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if frame.empty:
        raise UserError(
            f"ppo.ptx: {path} lists no labelled images to learn from; set reference.labelled_per_class, "
            "and no reference.checkpoint"
        )
    number = {name: n for n, name in enumerate(ws.classes)}
    if gone := [image for image in frame["image"] if image not in ws.table.position]:
        raise UserError(
            f"ppo.ptx: {path} names the image {gone[0]}, which is no longer there; run `make reference` again"
        )
    rows = [ws.table.position[image] for image in frame["image"]]
    return torch.tensor(rows), torch.tensor([number[name] for name in frame["label"]])


def describe(summary: dict[str, Any]) -> str:
    """One line for the terminal."""
    made = summary["policy"]
    accuracy = "" if made["accuracy"] is None else f"accuracy {made['accuracy']:.1%}, "
    early = f"; stopped early and kept iteration {made['iteration']}" if made["stopped"] else ""
    return (
        click.style("ppo", bold=True)
        + f"        {accuracy}{made['attained']:.1%} of the way from the reference to the exact optimum "
        f"({made['attained_heldout']:.1%} on held-out images), KL {made['kl']:.2f} nats{early}"
    )
