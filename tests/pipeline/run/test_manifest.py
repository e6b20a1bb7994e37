"""A stage's outputs against the hashes in its manifest, in every command that uses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.untrained_runs import noise_images

from benchmarks.untrained import make_untrained
from pipeline.config import Config, dump_config, parse_config
from pipeline.errors import UserError
from pipeline.models.predictor import Predictor
from pipeline.run.atomic_files import read_json, sha256_of, write_json
from pipeline.run.manifest import read_manifest
from pipeline.run.run_folder import RunFolder
from stages.cli import main
from stages.serve.run import load


@pytest.fixture
def run(image_folder: Callable[..., Path], tmp_path: Path) -> RunFolder:
    """A policy and a reference with whole manifests."""
    tree = {"name": "one", "runs": str(tmp_path / "runs"), "images": {"root": str(image_folder()), "size": 16}}
    config = parse_config({**tree, "model": {"backbone": "shufflenet_v2_x0_5", "weights": "none"}}, "test")
    make_untrained(config, ("a", "b"))
    for stage in ("ppo", "reference"):
        folder = config.runs / "one" / stage
        outputs = {"model.safetensors": sha256_of(folder / "model.safetensors")}
        write_json(folder / "manifest.json", read_json(folder / "manifest.json") | {"outputs": outputs})
    (tmp_path / "c.yaml").write_text(dump_config(config))
    return RunFolder(config)


def flip(path: Path) -> tuple[str, str]:
    """Change one bit in the middle; returns the first digits of the hash before and after."""
    before, data = sha256_of(path), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return before[:12], sha256_of(path)[:12]


def command(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [arguments[0], "--config", str(tmp_path / "c.yaml"), *arguments[1:]])


@pytest.mark.parametrize(
    ("stage", "target", "arguments"),
    [
        ("ppo", "ppo", ("infer", "IMAGES")),
        ("reference", "reference", ("infer", "--reference", "IMAGES")),
        ("ppo", "ppo", ("export", "--format", "huggingface")),
        ("ppo", "ppo", ("report",)),
        ("reference", "reference", ("report",)),
        ("ppo", "ppo", ("serve",)),
        ("reference", "reference", ("serve",)),
        ("reference", "reference", ("ppo",)),
        ("reference", "reference", ("train-reward",)),
        ("reference", "reference", ("collect",)),
    ],
)
def test_a_flipped_bit_is_refused(
    run: RunFolder, tmp_path: Path, stage: str, target: str, arguments: tuple[str, ...]
) -> None:
    images = noise_images(tmp_path / "some", 2)
    made, found = flip(run.path / stage / "model.safetensors")
    result = command(tmp_path, *(str(images) if word == "IMAGES" else word for word in arguments))
    assert result.exit_code == 2
    sentence = (
        f"error: {run.path / stage / 'model.safetensors'}: changed after the stage was finished: its SHA-256 starts with "
        f"{found}, the manifest has {made}; `make {target} CONFIG={tmp_path / 'c.yaml'} FORCE=1` runs the stage again"
    )
    assert sentence in result.output.splitlines()


def test_the_server_and_library_users(run: RunFolder, tmp_path: Path) -> None:
    flip(run.path / "reference" / "model.safetensors")
    assert load_error(lambda: load(run.config)) == load_error(lambda: Predictor.load(run.path / "reference"))
    policy = run.path / "ppo" / "model.safetensors"
    assert Predictor.load(run.path).classes == ("a", "b")
    flip(policy)
    for path in (run.path, run.path / "ppo", policy):
        assert "changed after the stage was finished" in load_error(lambda path=path: Predictor.load(path))  # type: ignore[misc]
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(policy.read_bytes())
    assert Predictor.load(copy).classes == ("a", "b"), "it lies beside no manifest that it could be compared with"
    for text in ('{"name": "a web page"}', "not JSON"):
        (tmp_path / "manifest.json").write_text(text)
        assert Predictor.load(copy).classes == ("a", "b"), "nor beside one of ours"


def load_error(load_it: Callable[[], object]) -> str:
    with pytest.raises(UserError) as refused:
        load_it()
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "not JSON"),
        ("[1", "not JSON"),
        ("[]", "not a JSON object but a list"),
        ("{}", "'settings' is missing"),
        ('{"settings": 1}', "'settings' is missing or not a string"),
        ('{"settings": "x", "outputs": []}', "'outputs' is not a mapping"),
        ('{"settings": "x", "inputs": {"a": 1}}', "'inputs' is not a mapping of names to strings"),
        ('{"settings": "x", "outputs": {"../../x": "y"}}', "outside the stage's folder"),
        ('{"settings": "x", "result": 3}', "'result' is not a string"),
        ("[" * 100_000, "not JSON"),
        ('{"settings": "\\udcff"}', None),
    ],
)
def test_damaged_manifests(run: RunFolder, text: str, part: str | None) -> None:
    """Refused where the stage's files are used; for the stage itself it is simply not finished."""
    manifest = run.path / "reference" / "manifest.json"
    manifest.write_text(text)
    assert not run.stage("reference").is_current({})
    if part is None:
        return
    with pytest.raises(UserError) as refused:
        run.require("reference", "model.safetensors")
    assert str(refused.value).startswith(f"{manifest}: damaged manifest (")
    assert part in str(refused.value)
    assert "make reference" in str(refused.value)


def test_a_manifest_that_is_not_utf_8(run: RunFolder) -> None:
    (run.path / "ppo" / "manifest.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(UserError, match="damaged manifest"):
        Predictor.load(run.path)


def finished(config: Config) -> RunFolder:
    run = RunFolder(config)
    stage = run.stage("ppo")
    stage.begin()
    (stage.path / "model.safetensors").write_bytes(b"weights")
    stage.finish({"a": "1"}, ["model.safetensors"], {"policy": {"accuracy": 0.5}})
    return run


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"seconds": "1", "peak_rss_mb": 1}', '{"seconds": 2, "peak_rss_mb": 1}']
)
def test_a_damaged_result(run: RunFolder, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """The stage is not finished; a later stage says what to do; the summary leaves it out and says so."""
    finished(run.config)
    assert run.stage("ppo").is_current({"a": "1"})
    path = run.path / "ppo" / "result.json"
    path.write_text(text)
    assert not run.stage("ppo").is_current({"a": "1"})
    assert "the stage runs again" in caplog.text
    with pytest.raises(UserError, match=r"result\.json: changed"):
        run.read("ppo", "result.json")
    caplog.clear()
    summary = run.write_summary()
    assert ("ppo" in summary["seconds"]) == ('"seconds": 2' in text)
    assert ("damaged (" in caplog.text) == ("ppo" not in summary["seconds"])


def test_manifests_of_the_version_before(run: RunFolder) -> None:
    """They have no hash of result.json, and what is not there is not compared."""
    finished(run.config)
    path = run.path / "ppo" / "manifest.json"
    made = read_json(path)
    assert made.pop("result") == sha256_of(run.path / "ppo" / "result.json")
    path.write_text(json.dumps(made))
    assert run.stage("ppo").is_current({"a": "1"})
    manifest = read_manifest(run.path / "ppo")
    assert manifest is not None
    assert manifest.result is None
    assert run.read("ppo", "result.json", "policy")["policy"] == {"accuracy": 0.5}


def test_a_file_is_hashed_once(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    def counted(path: Path) -> str:
        seen.append(path)
        return sha256_of(path)

    monkeypatch.setattr("pipeline.run.manifest.sha256_of", counted)
    for _ in range(3):
        run.require("ppo", "model.safetensors")
        Predictor.load(run.path)
    assert seen == [run.path / "ppo" / "model.safetensors"]
