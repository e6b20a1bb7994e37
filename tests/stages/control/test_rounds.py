"""Rounds of a control task: what is asked and stored, resuming, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from support.control_tasks import needs_control, small_task

from pipeline.control.config import ControlConfig
from pipeline.errors import UserError
from pipeline.run.run_folder import RunFolder

pytestmark = needs_control


def quiet(_: str) -> None:
    pass


def run(config: ControlConfig) -> dict[str, Any]:
    from stages.control.run import run as run_task

    return run_task(config, quiet)


def weights(config: ControlConfig) -> list[torch.Tensor]:
    from stable_baselines3 import A2C, DQN, PPO

    folder = config.runs / config.name / "rounds"
    kind = {"ppo": PPO, "a2c": A2C, "dqn": DQN}[config.agent.kind]
    agent = kind.load(folder / "policy.zip", device="cpu", custom_objects={"lr_schedule": lambda _: 0.0})
    return [*torch.load(folder / "reward.pt", weights_only=True).values(), *agent.policy.state_dict().values()]


def rows(config: ControlConfig) -> pd.DataFrame:
    return pd.read_csv(config.runs / config.name / "rounds" / "rounds.csv")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ControlConfig:
    """A finished run."""
    config = small_task(tmp_path_factory.mktemp("control"))
    temporary = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(temporary))
        run(config)
    assert not list(temporary.iterdir()), "stable-baselines3 would leave a folder there"
    return config


def test_every_answer_is_a_stored_row(finished: ControlConfig) -> None:
    store = RunFolder(finished).open_store()
    frame = store.comparisons()
    assert frame["round"].astype(int).tolist() == [0] * 6 + [1] * 6
    assert set(frame["label_a"]) == {"better"}
    assert (frame["image_a"] != frame["image_b"]).all()
    clips = {path.stem for path in (finished.runs / finished.name / "segments").iterdir()}
    assert clips == set(frame["image_a"]) | set(frame["image_b"])
    assert store.quality().questions["judgments"].sum() == 12
    table = rows(finished)
    assert table["answers"].tolist() == [6, 12]
    assert table["steps"].tolist() == [256, 384]
    page = (Path(__file__).resolve().parents[3] / "docs" / "control.md").read_text(encoding="utf-8")
    assert [name for name in table if f"`{name}`" not in page] == []
    metrics = pd.read_csv(finished.runs / finished.name / "rounds" / "metrics.csv")
    assert metrics["true_return"].tolist() == pytest.approx(table["true_return"].tolist())


def test_the_true_reward_gets_as_many_steps(finished: ControlConfig) -> None:
    table = pd.read_csv(finished.runs / finished.name / "true_reward" / "rounds.csv")
    assert table["steps"].tolist() == [256, 384]
    assert RunFolder(finished).read("true_reward", "result.json")["true_return"] == table["true_return"].iloc[-1]


def test_a_finished_run_is_up_to_date(finished: ControlConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages.control import run as stage

    monkeypatch.setattr(stage, "PreferenceLearner", lambda *_: pytest.fail("trained again"))
    assert run(finished)["answers"] == 12


@pytest.mark.parametrize(
    "stop", ["store_answers", *(pytest.param(name, marks=pytest.mark.long) for name in ("_write", "fit", "learn"))]
)
def test_an_interrupted_round_ends_with_the_same_bits(
    finished: ControlConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    """Interrupted in round 1: before and after its answers are stored, and after its state is. The name has no effect."""
    from pipeline.run.checkpoints import Checkpoints
    from stages.control import run as stage
    from stages.control.learner import PreferenceLearner

    config = small_task(tmp_path, name="other", baseline={"true_reward": False})
    owner: Any = {"_write": Checkpoints, "learn": PreferenceLearner}.get(stop, stage)
    original, calls = getattr(owner, stop), []

    def interrupted(*arguments: Any, **named: Any) -> Any:
        calls.append(stop)
        found = original(*arguments, **named)
        if len(calls) == 2:
            raise OSError("interrupted")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(owner, stop, interrupted)
        with pytest.raises(OSError, match="interrupted"):
            run(config)
    run(config)
    pd.testing.assert_frame_equal(rows(config), rows(finished))
    assert all(torch.equal(a, b) for a, b in zip(weights(config), weights(finished), strict=True))
    assert len(RunFolder(config).open_store().comparisons()) == 12


def test_a_run_with_other_settings_needs_another_name(finished: ControlConfig) -> None:
    changed = finished.model_copy(update={"reward": finished.reward.model_copy(update={"epochs": 6})})
    with pytest.raises(UserError, match=r"was made with other settings \(its config\.yaml\); set another name"):
        run(changed)
    assert run(finished)["answers"] == 12, "it is as it was"


def test_answers_of_other_settings_are_refused(finished: ControlConfig, tmp_path: Path) -> None:
    folder = str(finished.runs / finished.name / "feedback")
    config = small_task(tmp_path, collect={"folder": folder, "segment_length": 6})
    with pytest.raises(UserError, match=r"has answers of round 0 about other clips.*set another name"):
        run(config)
    assert len(RunFolder(finished).open_store().comparisons()) == 12


@pytest.mark.long
@pytest.mark.parametrize("kind", ["dqn", "a2c"])
def test_other_agents_resume_too(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages.control import run as stage

    settings = {"dqn": {"learning_starts": 50, "buffer_size": 300}, "a2c": {"n_steps": 16}}[kind]
    changes: dict[str, Any] = {
        "agent": {"kind": kind, "settings": settings},
        "baseline": {"true_reward": False},
        "collect": {"question": "clip_rating"},
    }
    whole, parts = (small_task(tmp_path / name, **changes) for name in ("whole", "parts"))
    run(whole)
    original, calls = stage.fit, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(kind)
        if len(calls) == 2:
            raise OSError("interrupted")
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(stage, "fit", interrupted)
        with pytest.raises(OSError, match="interrupted"):
            run(parts)
    run(parts)
    assert all(torch.equal(a, b) for a, b in zip(weights(parts), weights(whole), strict=True))
    assert len(RunFolder(whole).open_store().per_image_judgments("rating")) == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"environment": {"id": "CartPoll-v9"}}, r"environment\.id: gymnasium cannot make 'CartPoll-v9'"),
        ({"environment": {"settings": {"gravity_": 1}}}, r"environment\.id: gymnasium cannot make 'CartPole-v1'"),
        (
            {"environment": {"id": "Pendulum-v1"}, "agent": {"kind": "dqn", "settings": {}}},
            r"agent\.kind: dqn needs numbered actions",
        ),
        (
            {"collect": {"segment_length": 501}},
            r"segment_length is 501, longer than an episode of CartPole-v1 \(500 steps\)",
        ),
        ({"pretraining": {"steps": 384}}, r"pretraining\.steps is 384, not less than agent\.steps \(384\)"),
        (
            {"agent": {"settings": {"n_stepz": 3}}},
            r"agent\.settings: PPO has no setting 'n_stepz' here; did you mean 'n_steps'",
        ),
        ({"agent": {"settings": {"n_steps": "many"}}}, r"agent\.settings: PPO of stable-baselines3 refuses them"),
        ({"collect": {"count": 1}}, r"collect\.count is 1, fewer than 2 rounds"),
        ({"collect": {"teacher": "people"}}, r"collect\.teacher: people cannot answer"),
        ({"collect": {"teacher": "replay"}}, r"collect\.teacher: replay cannot answer"),
    ],
)
def test_bad_settings_are_one_sentence(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    config = small_task(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as error:
        run(config)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "small" / "feedback").exists()


def test_the_learner_is_given_no_true_rewards() -> None:
    """No function that trains has an argument of that type; the simulated teacher has."""
    import inspect

    from stages.control import ask, fit, trainer

    assert "TrueRewards" in str(inspect.signature(ask.simulate))
    for module in (fit, trainer):
        functions = [value for value in vars(module).values() if callable(value)]
        assert "TrueRewards" not in " ".join(
            str(inspect.signature(one)) for one in functions if getattr(one, "__module__", "") == module.__name__
        )


@pytest.mark.long
def test_true_rewards_change_nothing_after_the_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same answers, an environment with other rewards gives the same reward model and policy."""
    from pipeline.control.reward_env import RewardEnv
    from stages.control import run as stage

    monkeypatch.setattr(stage, "simulate", lambda config, asked, *_, **__: (["a", "b", "tie"] * 9)[: len(asked.starts)])
    first, second = (small_task(tmp_path / name, baseline={"true_reward": False}) for name in ("a", "b"))
    run(first)
    original = RewardEnv.step_wait

    def other(self: Any) -> Any:
        wait = self.venv.step_wait
        self.venv.step_wait = lambda: (lambda o, r, d, i: (o, np.full_like(r, -7.0), d, i))(*wait())
        try:
            return original(self)
        finally:
            del self.venv.step_wait

    monkeypatch.setattr(RewardEnv, "step_wait", other)
    run(second)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))
