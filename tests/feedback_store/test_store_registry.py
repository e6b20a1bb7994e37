"""A store is opened by its name, its address or its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from extensions.memory_store import MemoryStore, open_memory

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError
from feedback_store.registry import UnknownNameError
from feedback_store.store_registry import open_store, store_name, stores
from pipeline.config import Config, parse_config
from pipeline.errors import UserError
from pipeline.run.run_folder import RunFolder


def configured(**sections: object) -> Config:
    return parse_config({"images": {"source": "digits"}, **sections}, "test")


@pytest.fixture
def memory() -> Iterator[None]:
    stores.register("memory", open_memory)
    yield
    stores.unregister("memory")


def test_a_folder_means_csv_files(tmp_path: Path) -> None:
    for location in (tmp_path, str(tmp_path), f"csv://{tmp_path}"):
        store = open_store(location)
        assert isinstance(store, CsvFeedbackStore)
        assert store.location == str(tmp_path)
    assert open_store("csv", tmp_path / "there").location == str(tmp_path / "there")
    assert open_store(Path("memory")).location == "memory", "a path is a folder, whatever its name"


def test_a_store_of_another_package_is_opened_by_name_and_by_address(memory: None, tmp_path: Path) -> None:
    named, addressed = open_store("memory", tmp_path), open_store("memory://shared")
    assert isinstance(named, MemoryStore)
    assert (named.location, addressed.location) == (f"memory of {tmp_path}", "memory of shared")
    assert store_name("memory://shared") == "memory"


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    for location in ("sqlite://host/name", "sqlite"):
        with pytest.raises(UnknownNameError, match="unknown store 'sqlite'; valid names: csv, postgresql"):
            open_store(location, tmp_path)
    with pytest.raises(FeedbackError, match="csv: the store needs a folder"):
        open_store("csv")


def test_the_setting_names_the_store(memory: None, tmp_path: Path) -> None:
    config = configured(name="one", runs=str(tmp_path), collect={"store": "memory"})
    assert RunFolder(config).open_store().location == f"memory of {tmp_path / 'one' / 'feedback'}"
    config = configured(name="one", runs=str(tmp_path), collect={"folder": str(tmp_path / "f")})
    assert RunFolder(config).open_store().location == str(tmp_path / "f")
    with pytest.raises(UserError, match=r"collect\.store.*unknown store 'memry'; valid names: csv, postgresql, memory"):
        configured(collect={"store": "memry"})


def test_stages_made_before_there_were_these_settings_are_up_to_date(memory: None) -> None:
    """The hash of a stage's settings is what it was, as long as the settings added since are at their defaults."""
    plain, other = configured(), configured(collect={"store": "memory"})
    described = plain.model_dump(mode="json")
    for name in ("store", "strategy", "audit_fraction", "audit_width", "grid_tiles", "first_rows"):
        described["collect"].pop(name)
    for name in ("seconds", "speed", "seconds_spread", "fatigue", "miss_rate", "false_alarm_rate"):
        described["collect"]["simulated"].pop(name)
    for name in ("image_column", "label_column", "remote_cache_mb"):
        described["images"].pop(name)
    described["images"]["size"] = described["images"]["size"] or 224  # a default that is now the network's
    stage = RunFolder(plain).stage("collect")
    relevant = {name: described[name] for name in ("seed", "images", "collect")}
    assert stage.settings == hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
    assert RunFolder(other).stage("collect").settings != stage.settings
    assert RunFolder(other).stage("reward").settings == RunFolder(plain).stage("reward").settings
