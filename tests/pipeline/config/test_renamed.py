"""Settings whose values were renamed: refused where they are written, readable where they were saved."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import dump_config, load_config, load_saved_config, parse_config
from pipeline.config.renamed import RENAMED_VALUES, current_names, original_settings, with_added
from pipeline.errors import UserError
from pipeline.run.run_folder import RunFolder


def test_an_old_value_is_refused_with_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("images: {source: digits}\nppo: {penalty: acting}\n")
    with pytest.raises(UserError, match=r"c\.yaml: ppo\.penalty: 'acting' was renamed to 'old'"):
        load_config(path)
    path.write_text("images: {source: digits}\n")
    with pytest.raises(UserError, match=r"ppo\.penalty: 'learning' was renamed to 'current'"):
        load_config(path, ["ppo.penalty=learning"])
    assert load_config(path, ["ppo.penalty=old"]).ppo.penalty == "old"


def test_a_saved_configuration_of_an_earlier_version_is_readable(tmp_path: Path) -> None:
    config = parse_config({"images": {"source": "digits"}, "ppo": {"penalty": "old"}}, "test")
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config).replace("penalty: old", "penalty: acting"))
    assert load_saved_config(path) == config
    path.write_text(dump_config(config))
    assert load_saved_config(path) == config, "of this version, too"


def test_a_renaming_does_not_invalidate_finished_stages() -> None:
    """The hash of a stage's settings is that of the version before the renaming."""
    config = parse_config({"images": {"source": "digits"}}, "test")
    tree = config.model_dump(mode="json")
    tree["ppo"]["penalty"] = "learning"
    tree["images"]["size"] = 224  # a default that is now the network's
    del tree["model"]["lora_rank"]  # added
    for name in ("image_column", "label_column", "remote_cache_mb"):
        del tree["images"][name]  # added
    before = {name: tree[name] for name in ("seed", "images", "model", "ppo")}
    expected = hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()
    assert RunFolder(config).stage("ppo").settings == expected


def test_renamed_values_are_mapped_both_ways() -> None:
    for key, values in RENAMED_VALUES.items():
        section, leaf = key.split(".")
        for old, new in values.items():
            assert current_names({section: {leaf: old}}) == {section: {leaf: new}}
            assert original_settings({section: {leaf: new}}) == {section: {leaf: old}}


def test_what_was_added_is_as_earlier_versions_behaved(tmp_path: Path) -> None:
    """A configuration that an earlier version saved lacks the settings; present ones are left alone."""
    earlier = {"scale": "unit", "optimiser": "adamw", "prior_sd": "auto", "unlabelled": "none"}
    assert with_added({"reward": {"epochs": 3}, "ppo": None}) == {"reward": {"epochs": 3, **earlier}, "ppo": None}
    present = {"scale": "nats", "optimiser": "lbfgs", "prior_sd": 2.0, "unlabelled": "propagate"}
    assert with_added({"reward": present}) == {"reward": present}
    (tmp_path / "config.yaml").write_text("images: {source: digits}\nreward: {epochs: 3}\nppo: {beta: 0.3}\n")
    saved = load_saved_config(tmp_path / "config.yaml")
    assert (saved.reward.scale, saved.ppo.start, saved.ppo.beta) == ("unit", "reference", 0.3)
    fresh = parse_config({"images": {"source": "digits"}}, "test")
    assert (fresh.reward.scale, fresh.ppo.start, fresh.ppo.beta) == ("nats", "auto", "auto")


@pytest.mark.parametrize(
    ("model", "reference", "same"),
    [
        ({"trainable": "all"}, {}, True),
        ({"trainable": "head"}, {"labelled_per_class": 0}, True),
        ({"trainable": "head"}, {"checkpoint": "x.safetensors"}, True),
        ({"trainable": "head"}, {}, False),
        ({"trainable": "head"}, {"optimiser": "adamw"}, True),
        ({"trainable": "all"}, {"prior_sd": 2.0}, False),
    ],
)
def test_a_reference_that_is_trained_as_before_stays(
    model: dict[str, str], reference: dict[str, Any], same: bool
) -> None:
    """`reference.optimiser: auto` is new, and means what earlier versions did unless labels train a linear head."""
    tree = {"images": {"source": "digits"}, "model": model, "reference": reference}
    settings = original_settings(parse_config(tree, "test").model_dump(mode="json"))
    assert ({"optimiser", "prior_sd"} & settings["reference"].keys() == set()) == same


def test_the_local_copy_of_remote_images_changes_no_hash() -> None:
    """A finished stage stays up to date when the limit of the cache is changed."""
    plain, other = (
        parse_config({"images": {"source": "digits", **images}}, "test")
        for images in ({}, {"remote_cache_mb": 5, "image_column": "image"})
    )
    assert RunFolder(plain).stage("ppo").settings == RunFolder(other).stage("ppo").settings
    column = parse_config({"images": {"source": "digits", "image_column": "photo"}}, "test")
    assert RunFolder(plain).stage("ppo").settings != RunFolder(column).stage("ppo").settings


def test_settings_of_rounds_change_no_hash() -> None:
    """A round's own training settings are those of the stages; what is added here only says which they are."""
    plain = parse_config({"images": {"source": "digits"}}, "test")
    rounds = {
        "reward_updates": "steps",
        "stop_accuracy": 0.9,
        "schedule": "hyperbolic",
        "count": 4,
        "batches": [3, 2],
        "questions": ["label", "grid"],
    }
    other = parse_config({"images": {"source": "digits"}, "rounds": rounds}, "test")
    for stage in ("reference", "collect", "reward", "ppo"):
        assert RunFolder(plain).stage(stage).settings == RunFolder(other).stage(stage).settings
    saved = with_added({"rounds": {"schedule": "constant"}})
    assert saved == {
        "rounds": {
            "schedule": "constant",
            "count": None,
            "batches": None,
            "questions": None,
            "reward_updates": "epochs",
            "stop_accuracy": None,
        }
    }
    assert original_settings({"rounds": rounds})["rounds"] == rounds


def test_a_configuration_without_engines_is_that_of_one_process() -> None:
    """Earlier versions computed in one process; an engine changes no stage's hash, since the results are the same."""
    earlier = with_added({"runtime": {"threads": 2}, "infer": {"top_k": 1}})
    assert earlier["runtime"] == {"threads": 2, "engine": "local", "ray_workers": None}
    assert earlier["infer"] == {"top_k": 1, "engine": None}
    plain = parse_config({"images": {"source": "digits"}}, "test")
    other = parse_config({"images": {"source": "digits"}, "runtime": {"engine": "ray", "ray_workers": 2}}, "test")
    for stage in ("reference", "collect", "reward", "ppo"):
        assert RunFolder(plain).stage(stage).settings == RunFolder(other).stage(stage).settings


def test_simulated_response_times_do_not_invalidate_a_finished_collection() -> None:
    """They are on now, and were not there before: neither changes the hash of the settings. Another speed does."""

    def settings(**simulated: object) -> str:
        tree = {"images": {"source": "digits"}, "collect": {"simulated": simulated}}
        return RunFolder(parse_config(tree, "test")).stage("collect").settings

    config = parse_config({"images": {"source": "digits"}}, "test")
    tree = config.model_dump(mode="json")
    for name in ("seconds", "speed", "seconds_spread", "fatigue", "miss_rate", "false_alarm_rate"):
        del tree["collect"]["simulated"][name]
    assert with_added(tree)["collect"]["simulated"]["seconds"] is False, "as that version behaved"
    for name in ("store", "strategy", "audit_fraction", "audit_width", "grid_tiles", "first_rows"):
        del tree["collect"][name]
    for name in ("image_column", "label_column", "remote_cache_mb"):
        del tree["images"][name]
    tree["images"]["size"] = 224
    before = {name: tree[name] for name in ("seed", "images", "collect")}
    assert settings() == hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()
    assert settings(seconds=False) == settings(seconds=True) == settings()
    assert settings(speed=2.0) != settings()


@pytest.mark.parametrize("tree", [{}, {"ppo": None}, {"ppo": 3}, {"ppo": {"penalty": 3}}, {"ppo": {"lr": 1}}])
def test_what_is_not_a_renamed_setting_is_left_alone(tree: dict[str, object]) -> None:
    assert current_names(tree) == tree == original_settings(tree)
    with pytest.raises(UserError, match="images"):  # the usual complaint, not one about renaming
        parse_config(tree, "test")
