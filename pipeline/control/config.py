"""The configuration of a control task: `environment` in place of `images`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from pipeline.config.base import MAX_MEMBERS, LearningRate, Probability, Section, expand_path, known
from pipeline.config.collect import CollectConfig
from pipeline.config.root import RunName, Seed
from pipeline.config.runtime import RuntimeConfig
from pipeline.config.tracking import TrackingConfig

Widths = Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1, max_length=8)]
Keywords = Annotated[dict[str, bool | int | float | str], Field(max_length=50)]


class EnvironmentConfig(Section):
    id: str = Field(description="a registered environment of gymnasium, e.g. CartPole-v1, with a flat observation")
    n_envs: int = Field(8, ge=1, le=1024, description="environments that run side by side")
    settings: Keywords = Field({}, description="keyword arguments of gymnasium.make")


class AgentConfig(Section):
    kind: str = Field("ppo", description="algorithm of stable-baselines3: ppo, a2c, dqn (discrete actions only)")
    steps: int = Field(100_000, ge=1, le=10**9, description="environment steps of the whole run, pre-training included")
    lr: LearningRate = 3e-4
    lr_schedule: Literal["constant", "linear"] = Field(
        "constant", description="linear: falls to zero at the last step of the run"
    )
    gamma: float = Field(0.99, ge=0, le=1, description="discount factor")
    hidden: Widths = Field([64, 64], description="widths of the hidden layers")
    normalise: bool = Field(
        True, description="divide rewards by the running standard deviation of their discounted sum"
    )
    settings: Keywords = Field({}, description="further arguments of the class of stable-baselines3, e.g. n_steps")

    @field_validator("kind")
    @classmethod
    def _kind(cls, name: str) -> str:
        from pipeline.control.agents import agents

        return known(agents, name)


class PretrainingConfig(Section):
    """What the agent does before the first question: the first segments come from these steps."""

    steps: int = Field(4096, ge=1, le=10**9, description="environment steps before the first question")
    reward: Literal["state_entropy", "none"] = Field(
        "state_entropy", description="state_entropy: learn to visit states far from earlier ones; none: act at random"
    )
    neighbours: int = Field(5, ge=1, le=1000, description="k of the k-th nearest neighbour that the distance is to")
    states: int = Field(2000, ge=10, le=1_000_000, description="visited states that are compared with")


class SegmentTeacherConfig(Section):
    """The simulated teacher of B-Pref. `name` sets the parameters; a parameter that is set overrides it."""

    name: Literal["oracle", "mistake", "noisy", "myopic", "skip", "equal", "custom"] = "oracle"
    beta: float | None = Field(None, ge=-1, le=1e6, description="rationality; -1 is perfectly rational")
    gamma: float | None = Field(
        None, gt=0, le=1, description="myopia: a reward counts gamma times as much as one a step later"
    )
    eps_mistake: Probability | None = Field(None, description="probability of the opposite answer")
    eps_skip: float | None = Field(
        None, ge=0, le=1e6, description="no answer if both returns are below this times the mean"
    )
    eps_equal: float | None = Field(
        None, ge=0, le=1e6, description="a tie if the returns differ by less than this times the mean"
    )

    @field_validator("beta")
    @classmethod
    def _beta(cls, beta: float | None) -> float | None:
        if beta is not None and beta != -1 and beta < 0:
            raise ValueError("must be -1 (perfectly rational) or at least 0")
        return beta


class ControlCollectConfig(CollectConfig):
    question: str = Field(
        "clip_comparison", description="clip_comparison: which of two clips is better; clip_rating: a level, 1 to K"
    )
    strategy: str = Field(
        "disagreement",
        description="query strategy: uniform, disagreement, entropy, k_center, k_center_disagreement, k_center_entropy",
    )
    count: int = Field(200, ge=1, le=1_000_000, description="total number of questions")
    simulated: SegmentTeacherConfig = SegmentTeacherConfig()  # type: ignore[assignment]  # another section
    segment_length: int = Field(
        25, ge=2, le=10_000, description="steps of a clip; it ends earlier where the episode does"
    )
    pool_steps: int = Field(
        20_000, ge=100, le=10**8, description="newest environment steps that the segments are drawn from"
    )
    candidates: int = Field(
        10, ge=1, le=1000, description="random pairs per question, of which the strategy chooses the best"
    )

    @field_validator("question")
    @classmethod
    def _question(cls, name: str) -> str:
        from pipeline.control.questions import questions

        return known(questions, name)

    @field_validator("strategy")
    @classmethod
    def _strategy(cls, name: str) -> str:
        from pipeline.control.feeds import feeds

        return known(feeds, name)


class EnsembleConfig(Section):
    """The reward model: an ensemble of networks r(s, a), summed over the steps of a segment."""

    rating: Literal["binned", "scalar"] = Field("binned", description="ratings as ordered bins, or as numbers")
    ties: Literal["davidson", "half"] = Field(
        "davidson", description="a tie by Davidson's model, or as half an answer for either side"
    )
    members: int = Field(3, ge=1, le=MAX_MEMBERS, description="networks in the ensemble")
    hidden: Widths = Field([64, 64], description="widths of the hidden layers")
    lr: LearningRate = Field(3e-3, description="AdamW's learning rate")
    weight_decay: float = Field(0.01, ge=0, le=1e6)
    epochs: int = Field(100, ge=1, le=100_000, description="most passes over the judgments, after each round anew")
    patience: int = Field(
        10, ge=1, le=100_000, description="epochs without a better held-out likelihood before a network stops"
    )
    batch_size: int = Field(32, ge=1, le=65_536, description="judgments per step")
    heldout_fraction: float = Field(0.2, gt=0, lt=1, description="share of judgments held out")
    pessimism: float = Field(
        0.0, ge=0, le=1000, description="the reward is the members' mean minus this times their standard deviation"
    )


class QuestionRoundsConfig(Section):
    count: int = Field(5, ge=1, le=1000, description="number of rounds, each followed by as many environment steps")
    batches: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="number of questions of each round, in place of count, schedule and initial_share"
    )
    schedule: Literal["constant", "hyperbolic", "inverse_quadratic", "decreasing", "increasing"] = Field(
        "constant", description="how the number of questions changes from round to round"
    )
    initial_share: float | None = Field(
        None, gt=0, lt=1, description="share of all questions that the first round asks; null: as the schedule says"
    )


class EvaluationConfig(Section):
    episodes: int = Field(20, ge=1, le=10_000, description="episodes of each measurement of the true return")


class BaselineConfig(Section):
    true_reward: bool = Field(
        True, description="also train the same agent on the true reward, with as many steps, for comparison"
    )


class ControlConfig(Section):
    """A run about a control task."""

    stage_sections: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "rounds": ("environment", "agent", "pretraining", "collect", "reward", "rounds", "evaluation"),
        "reward": ("environment", "collect", "reward", "rounds"),
        "true_reward": ("environment", "agent", "pretraining", "rounds", "evaluation"),
    }

    name: RunName = "default"
    seed: Seed = 0
    runs: Path = Field(Path("runs"), description="folder of all runs")
    environment: EnvironmentConfig
    agent: AgentConfig = AgentConfig()
    pretraining: PretrainingConfig = PretrainingConfig()
    collect: ControlCollectConfig = ControlCollectConfig()
    reward: EnsembleConfig = EnsembleConfig()
    rounds: QuestionRoundsConfig = QuestionRoundsConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    baseline: BaselineConfig = BaselineConfig()
    tracking: TrackingConfig = TrackingConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    _paths = field_validator("runs", mode="before")(expand_path)
