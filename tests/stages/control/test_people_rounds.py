"""Rounds with people: clips show what happened, and a run that was stopped ends as one that was not."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.control_tasks import needs_control, small_task

from pipeline.control.clip import read_clip
from pipeline.control.config import ControlConfig, EnvironmentConfig
from pipeline.control.env_states import Renderer, adapter_for
from pipeline.errors import Stopped, UserError
from pipeline.kinds.page_items import PageItems
from pipeline.run.run_folder import RunFolder
from stages.control.ask_page import ask_people

pytestmark = [needs_control, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def quiet(_: str) -> None:
    pass


class Page:
    """Answers the open questions as somebody who likes the longer clip, at most `most` of them."""

    def __init__(self, folder: Path, most: int = 1000) -> None:
        self.folder, self.most, self.asked = folder, most, []  # type: ignore[var-annotated]

    def __call__(self, items: PageItems, store: Any, announce: object) -> int:
        known = set(store.comparisons()["id"])
        open_items = [item for item in items.plan.items if item.key not in known]
        for item in open_items[: self.most]:
            first, second = (len(read_clip(self.folder, clip).frames) for clip in item.images)
            choice = "tie" if first == second else "ab"[first < second]
            self.asked.append(item.key)
            self.most -= 1
            store.append([item.judgment(choice, id=item.key, annotator="ann", source="web", round=items.round)])
        return len(self.asked)


def run(config: ControlConfig, page: Page) -> dict[str, Any]:
    from stages.control.run import run as run_task

    return run_task(config, quiet, partial(ask_people, ask_about=page))


def people_task(runs: Path, **collect: Any) -> ControlConfig:
    return small_task(
        runs,
        collect={"teacher": "people", "segment_length": 12, **collect},
        evaluation={"episodes": 2},
        baseline={"true_reward": False},
    )


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_clips_show_what_happened(name: str) -> None:
    """Frames drawn from stored states are those that the environment drew on its way."""
    renderer = Renderer(EnvironmentConfig(id=name))
    env = renderer.env
    env.reset(seed=3)
    env.action_space.seed(3)
    adapter, states, frames = adapter_for(env, name), [], []
    for _ in range(5):
        states.append(adapter.read(env.unwrapped))
        frames.append(env.unwrapped.render())
        for _ in range(3):
            env.step(env.action_space.sample())
    np.testing.assert_array_equal(renderer.frames(np.stack(states)), np.stack(frames))
    assert renderer.fps == env.metadata["render_fps"]
    assert len({frame.tobytes() for frame in frames}) == 5, "something moves"
    renderer.close()


@pytest.mark.long
def test_a_stopped_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole, stopped = people_task(tmp_path / "whole"), people_task(tmp_path / "stopped")
    page = Page(whole.runs / whole.name / "clips")
    result = run(whole, page)
    assert len(page.asked) == 12
    keys = []
    for most in (4, 5):  # in the first round, and in the second
        page = Page(stopped.runs / stopped.name / "clips", most)
        with pytest.raises(Stopped, match=r"of 6 questions are not answered yet"):
            run(stopped, page)
        keys += page.asked
    page = Page(stopped.runs / stopped.name / "clips")
    repeated = run(stopped, page)
    keys += page.asked
    assert len(set(keys)) == len(keys) == 12, "nothing is asked twice"
    timing = ("seconds", "peak_rss_mb")
    assert {k: v for k, v in repeated.items() if k not in timing} == {
        k: v for k, v in result.items() if k not in timing
    }
    tables = [pd.read_csv(one.runs / one.name / "rounds" / "rounds.csv") for one in (whole, stopped)]
    pd.testing.assert_frame_equal(*tables)
    frame = RunFolder(whole).open_store().comparisons()
    assert frame["round"].astype(int).tolist() == [0] * 6 + [1] * 6
    clips = set(frame["image_a"]) | set(frame["image_b"])
    folder = whole.runs / whole.name
    assert {path.stem for path in (folder / "clips").iterdir()} == clips
    assert {path.stem for path in (folder / "segments").iterdir()} == clips
    for clip in clips:
        with np.load(folder / "segments" / f"{clip}.npz") as segment:
            assert len(read_clip(folder / "clips", clip).frames) == int(segment["steps"])


def test_what_people_cannot_be_asked_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gymnasium

    page = Page(tmp_path)
    with pytest.raises(UserError, match=r"collect\.question: the page has no clip_rating; use clip_comparison"):
        run(people_task(tmp_path, question="clip_rating"), page)

    class Undrawn(gymnasium.envs.classic_control.CartPoleEnv):  # type: ignore[name-defined,misc]
        def render(self) -> None:
            raise gymnasium.error.DependencyNotInstalled("pygame is not installed")

    monkeypatch.setitem(
        gymnasium.registry, "Undrawn-v0", gymnasium.envs.registration.EnvSpec("Undrawn-v0", entry_point=Undrawn)
    )
    config = people_task(tmp_path)
    hidden = config.model_copy(update={"environment": EnvironmentConfig(id="Undrawn-v0", n_envs=2)})
    with pytest.raises(UserError, match=r"'Undrawn-v0' cannot be drawn for people \(pygame is not installed\)"):
        run(hidden, page)
    assert not (tmp_path / "small" / "rounds").exists()
