"""The section of the configuration that stage two reads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config_base import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Section


class PPOConfig(Section):
    """PPO, and by its settings A2C (`epochs: 1, clip: null`) and REINFORCE (`surrogate: score` besides)."""

    estimator: Literal["expected", "sampled", "critic"] = Field(
        "expected",
        description="the gradient's expectation over classes exactly; by a sampled class and an exact baseline; or by a "
        "sampled class and a learned value, for rewards known of the sampled class alone",
    )
    surrogate: Literal["ratio", "score"] = Field(
        "ratio", description="ratio to the policy that acted (PPO, A2C), or the plain score function log pi (REINFORCE)"
    )
    baseline: Literal["exact", "mean", "none"] = Field(
        "exact",
        description="what is subtracted from a sampled class's reward: the image's expectation, the batch's mean",
    )
    penalty: Literal["learning", "acting"] = Field(
        "learning",
        description="whose log-probability stands in the KL penalty of each class's reward: the learning policy's, anew at "
        "each minibatch, or that of the policy that acted, which is stale after a rollout's first step",
    )
    temperature: PositiveFloat = Field(1.0, description="of the policy that samples classes; its bias is weighted away")
    beta: PositiveFloat = Field(0.3, description="weight of KL(policy || reference), in units of the reward's scale")
    kl_target: PositiveFloat | None = Field(None, description="nats an image; adapts beta (Ziegler et al. 2019)")
    kl_horizon: PositiveInt = Field(10_000, description="images over which the adaptive beta moves")
    iterations: PositiveInt = 50
    batch_size: PositiveInt = Field(512, description="images a rollout")
    epochs: PositiveInt = Field(4, description="passes over each rollout")
    minibatch_size: PositiveInt = 128
    lr: PositiveFloat = Field(1e-4, description="Adam's peak learning rate, then decayed linearly to zero")
    value_lr: PositiveFloat = Field(1e-2, description="learning rate of the value head (estimator: critic)")
    warmup_fraction: Fraction = Field(0.05, description="share of the iterations in which the learning rate rises")
    clip: PositiveFloat | None = Field(0.2, description="ratios count between 1 - clip and 1 + clip; null: all count")
    target_kl: PositiveFloat | None = Field(0.05, description="stop an iteration's epochs at 1.5 times this approx_kl")
    max_kl: PositiveFloat | None = Field(
        None,
        description="nats an image beyond which PPO stops and keeps the last good iterate; default: 3 times pi*'s + 1",
    )
    max_grad_norm: PositiveFloat = 1.0
    entropy_bonus: NonNegativeFloat = 0.0
    ptx: NonNegativeFloat = Field(
        0.0, description="weight of the log-likelihood of the reference's labelled images (PPO-ptx, Ouyang et al. 2022)"
    )
    augment: bool = Field(
        False, description="draw a view of each image a rollout by images.augment; the frozen models score that view"
    )
    refresh_batchnorm: bool = Field(
        False, description="gather BatchNorm's statistics anew before each rollout; frozen in between"
    )
    keep: Literal["last", "best_heldout"] = Field(
        "last", description="which iterate becomes the policy: the last, or that of the best held-out objective"
    )
    heldout_images: PositiveInt = Field(
        200, description="held-out images measured at every iteration; the result is measured on all"
    )
    evaluate_every: PositiveInt = Field(10, description="iterations between exact evaluations on every image")

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
                "ppo.keep: best_heldout compares objectives, which a beta that moves (ppo.kl_target) makes unlike"
            )
        if self.estimator == "critic" and self.baseline != "exact":
            raise ValueError("ppo.baseline is for the estimator 'sampled'; a critic's baseline is what it has learned")
        return self
