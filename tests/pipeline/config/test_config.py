from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, dump_config, known_keys, load_config, load_settings, settings_table
from pipeline.errors import UserError
from stages.cli.extensions import extension_of

CONFIGS = sorted((Path(__file__).resolve().parents[3] / "configs").glob("*.yaml"))


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text("images: {source: digits}\n")
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_shipped_configurations(path: Path, tmp_path: Path) -> None:
    """They load, say in their header how to run them and what comes out, and survive being written and read."""
    extension = extension_of(path)
    kind = extension.settings if extension else Config
    config: Any = load_settings(kind, path)
    header = path.read_text().split("\nname:")[0]
    assert f"CONFIG=configs/{path.name}" in header or "make demo" in header
    assert "Expect" in header
    again = tmp_path / "again.yaml"
    again.write_text(dump_config(config))
    assert load_settings(kind, again) == config


def test_overrides(minimal: Path) -> None:
    config = load_config(minimal, ["ppo.lr=1e-5", "seed=3", "ppo.kl_target=null", "name=2024", "images.exclude=[a, b]"])
    assert (config.ppo.lr, config.seed, config.ppo.kl_target, config.name) == (1e-5, 3, None, "2024")
    assert config.images.exclude == ["a", "b"]


def test_class_names_that_yaml_reads_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("images: {root: x, classes: [0, 1, '02']}\n")
    assert load_config(path).images.classes == ["0", "1", "02"]


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("ppo.leraning_rate=1", ("unknown key 'ppo.leraning_rate'", "did you mean")),
        ("ppo.betta=1", ("unknown key 'ppo.betta'", "'ppo.beta'")),
        ("sead=1", ("unknown key 'sead'", "'seed'")),
        ("lr=1e-4", ("unknown key 'lr'", ".lr'")),
        ("reward.itterations=3", ("unknown key", "ppo.iterations")),
        ("ppo.lr=fast", ("ppo.lr", "'fast'")),
        ("ppo.lr=-1", ("ppo.lr", "greater than 0", "-1")),
        ("ppo.lr=.nan", ("ppo.lr", "finite")),
        ("ppo.estimator=magic", ("ppo.estimator", "'expected', 'sampled' or 'critic'")),
        ("reference.calibration_folds=1", ("calibration_folds", "0 or at least 2")),
        ("images.classes=[a]", ("images.classes", "two distinct")),
        ("images={source: digits, size: 32, resize: 8}", ("images", "must not be smaller")),
        ("seed.x=1", ("seed",)),
        ("ppo.lr", ("key=value",)),
        ("ppo.lr=[", ("not valid YAML",)),
        ("name=a/b", ("name", "pattern")),
        ("images.source=folder", ("images.root is needed",)),
    ],
)
def test_refused_by_name(minimal: Path, override: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        load_config(minimal, [override])
    for part in parts:
        assert part in str(error.value)


def test_every_problem_is_listed(minimal: Path) -> None:
    with pytest.raises(UserError) as error:
        load_config(minimal, ["ppo.lr=-1", "reward.epochs=0"])
    assert "ppo.lr" in str(error.value)
    assert "reward.epochs" in str(error.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [("a: [", "line 1"), ("- a\n", "mapping"), ("x: 1\nimages: {source: digits}\n", "unknown key 'x'")],
)
def test_bad_files(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=part) as error:
        load_config(path)
    assert str(path) in str(error.value)
    with pytest.raises(UserError, match="no such configuration"):
        load_config(tmp_path / "none.yaml")


def test_environment_variables_in_paths(minimal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTURES", "/some/where")
    assert load_config(minimal, ["images.root=$PICTURES/x"]).images.root == Path("/some/where/x")


def test_known_keys_reach_every_leaf() -> None:
    keys = known_keys()
    assert {"name", "images.augment.flip", "collect.simulated.eps_mistake", "ppo.lr", "runtime.device"} <= set(keys)
    assert len(keys) == len(set(keys))
    assert not any(isinstance(getattr(Config.model_fields.get(k), "annotation", None), dict) for k in keys)


def test_the_list_of_settings_is_that_of_the_code() -> None:
    """docs/settings.md ends with what `image-rlhf settings` prints, and that has every key."""
    table = settings_table()
    assert (Path(__file__).parents[3] / "docs" / "settings.md").read_text(encoding="utf-8").endswith(table)
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == known_keys()
    assert (
        "| `reference.labelled_per_class` | `10` | 0 to 1,000,000 | labelled images per class; 0: the reference is uniform; "
        in table
    )
    assert "current or old" in next(line for line in table.splitlines() if "`ppo.penalty`" in line)
