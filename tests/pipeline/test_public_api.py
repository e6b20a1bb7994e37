"""`import pipeline` is fast, prints nothing and has exactly the documented names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pipeline
from pipeline.config import Config as OriginalConfig
from pipeline.errors import UserError


def test_importing_prints_nothing_and_imports_no_torch() -> None:
    code = "import sys, pipeline, feedback_store, stages; assert 'torch' not in sys.modules; pipeline.Config"
    made = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=False)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")


@pytest.mark.long
def test_using_every_name_prints_nothing() -> None:
    code = "import pipeline; [getattr(pipeline, name) for name in pipeline.__all__]"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")


def test_names() -> None:
    assert pipeline.__all__ == ["Config", "FeedbackStore", "Predictor", "RewardModel", "run_stage"]
    assert pipeline.Config is OriginalConfig
    with pytest.raises(AttributeError, match="no attribute 'Trainer'; it has Config"):
        pipeline.Trainer  # noqa: B018


def test_an_unknown_stage_is_one_sentence() -> None:
    config = pipeline.Config.model_validate({"images": {"source": "digits"}})
    with pytest.raises(UserError, match="unknown stage 'reward'; the stages are reference, collect"):
        pipeline.run_stage("reward", config)
