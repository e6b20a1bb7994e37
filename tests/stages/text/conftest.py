"""Runs about texts: a tiny encoder that is made once, and the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.text_runs import tiny_encoder

from stages.cli import main

Call = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="transformers is not installed: no reward model of texts was trained")
    return tiny_encoder(tmp_path_factory.mktemp("tiny") / "encoder")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line in this process: exit code and output."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, list(map(str, arguments)))
        return result.exit_code, result.output

    return run
