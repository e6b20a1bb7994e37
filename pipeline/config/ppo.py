"""The section of the configuration that stage two reads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.config.base import Fraction, LearningRate, Section


class PPOConfig(Section):
    """PPO, and by its settings A2C (`epochs: 1, clip: null`) and REINFORCE (`surrogate: score` besides)."""

    estimator: Literal["expected", "sampled", "critic"] = Field(
        "expected",
        description="how the gradient is computed: expectation over classes; sampled class with an exact baseline; or "
        "sampled class with a learned value, where only the sampled class's reward is known",
    )
    surrogate: Literal["ratio", "score"] = Field(
        "ratio", description="ratio to the old policy (PPO, A2C), or the plain score function log pi (REINFORCE)"
    )
    baseline: Literal["exact", "mean", "none"] = Field(
        "exact",
        description="what is subtracted from a sampled class's reward: the image's expectation, the batch's mean, or nothing",
    )
    penalty: Literal["current", "old"] = Field(
        "current",
        description="log-probability in the KL penalty of each class's reward: of the current policy, recomputed at "
        "each minibatch, or of the old policy, which made the rollout and is stale after its first step",
    )
    temperature: float = Field(
        1.0, ge=1e-3, le=1000, description="of the policy that samples classes; samples are importance-weighted"
    )
    beta: Annotated[float, Field(ge=1e-6, le=1e6)] | Literal["auto"] = Field(
        "auto",
        description="weight of KL(policy || reference), in units of the reward; auto: chosen by train-reward from "
        "held-out judgments, see the reward model's card; needs reward.scale: nats",
    )
    start: Literal["reference", "reward", "auto"] = Field(
        "auto",
        description="initial policy: the reference, the reward model's network, or the one whose objective J on the training "
        "images is higher",
    )
    kl_target: float | None = Field(None, gt=0, le=1e6, description="nats per image; adapts beta (Ziegler et al. 2019)")
    kl_horizon: int = Field(10_000, ge=1, le=10**9, description="images over which the adaptive beta moves")
    iterations: int = Field(50, ge=1, le=1_000_000)
    batch_size: int = Field(512, ge=1, le=1_000_000, description="images per rollout")
    epochs: int = Field(4, ge=1, le=10_000, description="passes over each rollout")
    minibatch_size: int = Field(128, ge=1, le=65_536)
    lr: LearningRate = Field(1e-4, description="Adam's peak learning rate, then decayed linearly to zero")
    value_lr: LearningRate = Field(1e-2, description="learning rate of the value head (estimator: critic)")
    warmup_fraction: Fraction = Field(0.05, description="share of the iterations in which the learning rate rises")
    clip: float | None = Field(
        0.2, gt=0, le=1e6, description="ratios are clipped to 1 - clip ... 1 + clip; null: no clipping"
    )
    target_kl: float | None = Field(
        0.05, gt=0, le=1e6, description="stop an iteration's epochs at 1.5 times this approx_kl"
    )
    max_kl: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="KL in nats per image beyond which PPO stops and keeps the last good iterate; default: 3 times pi*'s + 1",
    )
    max_grad_norm: float = Field(1.0, gt=0, le=1e9)
    entropy_bonus: float = Field(0.0, ge=0, le=1e6)
    ptx: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="weight of the log-likelihood of the reference's labelled images (PPO-ptx, Ouyang et al. 2022)",
    )
    augment: bool = Field(
        False,
        description="draw a view of each image in each rollout by images.augment; the frozen models score that view",
    )
    refresh_batchnorm: bool = Field(
        False, description="re-estimate BatchNorm's statistics before each rollout; frozen in between"
    )
    keep: Literal["auto", "last", "best_heldout"] = Field(
        "auto",
        description="which iterate becomes the policy: the last, or that of the best held-out objective; auto: best_heldout, "
        "or last with kl_target",
    )
    heldout_images: int = Field(
        200, ge=1, le=10**9, description="held-out images evaluated at every iteration; the result is evaluated on all"
    )
    evaluate_every: int = Field(10, ge=1, le=10**9, description="iterations between exact evaluations on every image")

    @property
    def kept(self) -> Literal["last", "best_heldout"]:
        """`keep`, with `auto` resolved."""
        if self.keep == "auto":
            return "last" if self.kl_target else "best_heldout"
        return self.keep

    @model_validator(mode="after")
    def _combinations(self) -> PPOConfig:
        sampling = {"surrogate": "ratio", "baseline": "exact", "temperature": 1.0}
        for name, default in sampling.items():
            if self.estimator == "expected" and getattr(self, name) != default:
                raise ValueError(
                    f"ppo.{name} is for estimators that sample; leave it at {default}, or set ppo.estimator"
                )
        if self.keep == "best_heldout" and self.kl_target:
            raise ValueError(
                "ppo.keep: best_heldout compares objectives, which are not comparable with an adaptive beta (ppo.kl_target); use last"
            )
        if self.estimator == "critic" and self.baseline != "exact":
            raise ValueError("ppo.baseline is for the estimator 'sampled'; with a critic the baseline is its value")
        return self
