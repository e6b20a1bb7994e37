"""Configurations of other tasks: found by a section, handled by a module that is imported only then."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pandas as pd
import pytest
from click.testing import CliRunner

from feedback_store.schemas import schema_of, schemas
from feedback_store.schemas.pair import IMAGE_COMPARISON, ImageComparisonSchema
from pipeline.config.base import Section
from pipeline.config.collect import CollectConfig
from pipeline.config.runtime import RuntimeConfig
from pipeline.config.tracking import TrackingConfig
from pipeline.run.extension import Extension, StageFunctions
from pipeline.run.run_folder import RunFolder
from stages.cli import extensions, main


class GameConfig(Section):
    stage_sections: ClassVar = {"collect": ("game",)}

    name: str = "default"
    seed: int = 0
    runs: Path = Path("runs")
    game: str
    collect: CollectConfig = CollectConfig()
    tracking: TrackingConfig = TrackingConfig()
    runtime: RuntimeConfig = RuntimeConfig()


def play(config: GameConfig, functions: StageFunctions, **options: Any) -> str:
    stage = RunFolder(config).stage("collect")
    stage.begin()
    stage.finish({"game": config.game}, [], {"judgments": 0})
    current = stage.is_current({"game": config.game})
    return f"{config.game} in round {options['count']}, {current}"


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    module = ModuleType("game_extension")
    module.EXTENSION = Extension("a game", GameConfig, {"rounds": play})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "game_extension", module)
    monkeypatch.setitem(extensions.EXTENSIONS, "game", "game_extension")
    path = tmp_path / "chess.yaml"
    path.write_text(f"game: chess\nruns: {tmp_path / 'runs'}\n", encoding="utf-8")
    return path


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    return result.exit_code, result.output


def test_a_section_names_the_extension_of_a_configuration(configuration: Path) -> None:
    arguments = ("rounds", "--config", configuration, "--set", "game=go", "--rounds", 2)
    assert call(*arguments) == (0, "go in round 2, True\n")


def test_a_command_that_an_extension_lacks_is_refused(configuration: Path) -> None:
    code, text = call("ppo", "--config", configuration)
    assert code == 2
    assert f"{configuration}: `ppo` does nothing for a game; its commands are rounds" in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("images: {root: x}", "has both 'game' and 'images'; a run is about one of them, remove the other"),
        ("gane: 3", "unknown key 'gane'; did you mean 'game'?"),
        ("collect: {conut: 3}", "unknown key 'collect.conut'; did you mean 'collect.count'?"),
    ],
)
def test_its_configuration_is_checked_as_others_are(configuration: Path, line: str, message: str) -> None:
    configuration.write_text(configuration.read_text() + line + "\n", encoding="utf-8")
    code, text = call("rounds", "--config", configuration)
    assert (code, f"{configuration}: {message}" in text) == (2, True), text


def test_rows_of_other_items_belong_to_their_own_kind() -> None:
    class GameSchema(ImageComparisonSchema):
        name, prefix = "game_comparison", "game-"

        def select(self, frame: pd.DataFrame) -> pd.Series:
            return frame["image_a"].str.startswith(self.prefix)

        def owns(self, row: Any) -> bool:
            return str(row["image_a"]).startswith(self.prefix)

    own = schemas.register("game_comparison", GameSchema())
    try:
        rows = pd.DataFrame({"image_a": ["game-1", "img-1", "img-1"], "image_b": ["game-2", "img-2", "img-1"]})
        assert IMAGE_COMPARISON.select(rows).tolist() == [False, True, False]
        assert [schema_of(row).name for row in rows.to_dict("records")] == [own.name, "image_comparison", "comparison"]
    finally:
        schemas.unregister("game_comparison")
