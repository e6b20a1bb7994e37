"""Careless and hostile configurations: each is refused with one sentence, or read as it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.fuzzing import bounded

from pipeline.config import dump_config, load_config, parse_config
from pipeline.errors import UserError
from pipeline.run.workspace import open_workspace
from stages.reference import run as reference
from stages.reference import training

ALIASES = "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9) if before else '1'}]\n"
    for before, name in zip("_abcdefgh", "abcdefghi", strict=True)
).replace("*_", "1")


def refusal(path: Path, *overrides: str) -> str:
    with bounded(), pytest.raises(UserError) as error:
        load_config(path, list(overrides))
    return str(error.value)


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("seed: !!int x", "line 1: 'x' is not a value of the type int"),
        ("a: 1\nseed: !!float ''", "line 2: '' is not a value of the type float"),
        ("seed: !!binary x", "line 1: the tag 'tag:yaml.org,2002:binary' is not supported"),
        ("seed: !!python/object:os.system x", "is not supported"),
        ("ppo: !!set {a}", "is not supported"),
        ("seed: " + "[" * 5000, "nested more than 20 levels deep"),
        ("a:\n " + "- " * 5000, "nested more than 20 levels deep"),
        ("a: &a [*a]", "with aliases written out"),
        (ALIASES, "more than 50,000 values, with aliases written out"),
        ("seed: 1\nname: x\nseed: 2\n", "line 3: the key 'seed' stands in line 1 already"),
        ("ppo: {lr: 0.1,\n lr: 0.2}", "line 2: the key 'lr' stands in line 1 already"),
        ("ppo: {<<: 3}", "<< merges mappings only"),
        ("{[a]: b}", "a key is a word"),
        ("seed: " + "1" * 5000, "is not a value of the type int"),
        ("seed: " + "1:" * 5000 + "1", "is larger than any setting may be"),
        ('name: "\\U00110000"', "not valid YAML"),
        ("seed: 1\0", "not valid YAML: unacceptable character #x0000"),
        ("# " + "x" * 300_000, "larger than 256 KiB"),
        (b"name: \xff\xfe", "not UTF-8 (byte 6)"),
        ("3", "a mapping of keys to values, not a int"),
    ],
)
def test_files(tmp_path: Path, text: str | bytes, part: str) -> None:
    path = written(tmp_path, text)
    message = refusal(path)
    assert message.startswith(str(path))
    assert part in message
    assert "\n" not in message


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, b"")
    with path.open("wb") as file:
        file.truncate(10**9)
    with bounded(seconds=1, memory=10**7), pytest.raises(UserError, match="larger than 256 KiB"):
        load_config(path)


def test_what_could_not_be_read_back(tmp_path: Path) -> None:
    """Stages keep the configuration with a line for each item of a list, which takes more room than it may have been given."""
    text = "images: {root: x, exclude: [" + "123," * 40_000 + "1]}"
    assert "longer than 256 KiB when written out" in refusal(written(tmp_path, text))


def test_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: a folder, not a configuration; name a .yaml file in it"


def test_names_are_read_as_they_are_written(tmp_path: Path) -> None:
    """YAML makes 8 of 010, False of no, a date of 2024-01-01, and 4660 of 0x1234; a class folder is called as it is called."""
    path = written(
        tmp_path,
        "name: 2024-02-30\nimages:\n  root: 0x1234\n  classes: [010, 1e3, no, on, 2024-02-30, 2024-01-01, 1_000, 12:30, 0, 1]\n"
        "collect: {keys: {yes: [y], no: [n]}}\n",
    )
    config = load_config(path, ["tracking.project=007"])
    assert config.images.classes == ["010", "1e3", "no", "on", "2024-02-30", "2024-01-01", "1_000", "12:30", "0", "1"]
    assert (config.name, config.images.root, config.tracking.project) == ("2024-02-30", Path("0x1234"), "007")
    again = written(tmp_path, dump_config(config))
    assert load_config(again) == config


def test_nothing_is_text_that_should_not_be(tmp_path: Path) -> None:
    path = written(tmp_path, "images: {root: x, classes: null, resize: ~}\nseed: 0x10\nppo: {lr: 1e-4, clip: null}\n")
    config = load_config(path)
    assert (config.images.classes, config.images.resize, config.seed, config.ppo.lr) == (None, None, 16, 1e-4)


def test_merge_keys(tmp_path: Path) -> None:
    path = written(
        tmp_path, "images: {root: x}\nreference: &both {epochs: 3, lr: 0.01}\nreward: {<<: [*both], lr: 0.02}\n"
    )
    config = load_config(path)
    assert (config.reward.epochs, config.reward.lr) == (3, 0.02)


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("images.size=1", "images.size: input should be greater than or equal to 8 (got 1)"),
        ("images.size=20000", "images.size: input should be less than or equal to 4096 (got 20000)"),
        ("images.augment.shift=32", "augment.shift must be smaller than size"),
        ("reference.lr=10", "reference.lr: input should be less than or equal to 1 (got 10)"),
        ("ppo.beta=1e-300", "ppo.beta: input should be greater than or equal to 0.000001, or 'auto' (got '1e-300')"),
        (
            "ppo.beta=atuo",
            "ppo.beta: input should be a valid number, unable to parse string as a number, or 'auto' (got 'atuo')",
        ),
        ("runtime.threads=100000", "runtime.threads: input should be less than or equal to 1024"),
        ("infer.batch_size=1000000", "infer.batch_size: input should be less than or equal to 4096"),
        ("reward.batch_size=1000000000", "reward.batch_size: input should be less than or equal to 65536"),
        ("collect.count=1000000000", "collect.count: input should be less than or equal to 1000000"),
        ("seed=99999999999999999999999999999999999999999", "is larger than any setting may be"),
        ("name=" + "x" * 101, "name: string should have at most 100 characters"),
        ('images.root="a\\0b"', "U+0000, which cannot be written"),
        ('tracking.project="\\ud800"', "U+D800, which cannot be written"),
        ('images.classes=["a\\nb",c]', "U+000A, which cannot be written"),
        ("images.root=" + "x" * 5000, "has 5000 characters; at most 4096"),
        ("a" * 5000 + "=1", "unknown key"),
        (".".join("a" * 5000) + "=1", "unknown key"),
        ("..=1", "unknown key"),
        ("images.exclude=[" + "x," * 3000 + "1, {}]", "images.exclude.3001"),
        ("ppo=" + "[" * 19 + "]" * 19, "ppo: input should be a valid dictionary"),
    ],
)
def test_values(tmp_path: Path, override: str, part: str) -> None:
    message = refusal(written(tmp_path, "images: {source: digits, size: 32}"), override)
    assert part in message
    assert len(message) < 500


def test_an_environment_variable_cannot_bring_in_what_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICTURES", "a\nb")
    assert "U+000A" in refusal(written(tmp_path, "images: {root: $PICTURES/x}"))


def test_many_problems_are_counted(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, "".join(f"key{number}: 1\n" for number in range(5000))))
    assert len(message.splitlines()) == 11
    assert message.splitlines()[-1].endswith("4991 more problems of the same kinds"), "images is missing besides"


@pytest.mark.parametrize(
    ("backbone", "size", "part"),
    [
        ("vit_b_16", 32, "vit_b_16 does not take images of 32 pixels (it takes only 224 pixels)"),
        ("alexnet", 32, "alexnet does not take images of 32 pixels ("),
        ("inception_v3", 64, "inception_v3 does not take images of 64 pixels ("),
        ("maxvit_t", 64, "maxvit_t does not take images of 64 pixels ("),
        ("regnet_x_400mf", 32, None),
        ("vit_b_16", 224, None),
    ],
)
def test_image_sizes_that_a_network_cannot_take(
    image_folder: Callable[..., Path], tmp_path: Path, backbone: str, size: int, part: str | None
) -> None:
    """Said before any image is read; the random streams are as they were."""
    tree = {"runs": str(tmp_path / "runs"), "images": {"root": str(image_folder(train=2, test=2)), "size": size}}
    config = parse_config({**tree, "model": {"backbone": backbone, "weights": "none"}}, "test")
    if part is None:
        open_workspace(config)
        return
    with pytest.raises(UserError) as refused:
        open_workspace(config)
    assert part in str(refused.value)
    assert str(refused.value).startswith("images.size: ")
    assert not (tmp_path / "runs" / ".cache").exists()


def test_training_that_diverges(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learning rate that is too large for the data is named; the loss stands in for that here, since it takes long to find one."""
    tree = {
        "runs": str(tmp_path / "runs"),
        "images": {"root": str(image_folder()), "size": 16},
        "model": {"backbone": "shufflenet_v2_x0_5", "weights": "none"},
        "reference": {"labelled_per_class": 2, "epochs": 2, "calibration_folds": 0, "lr": 1.0},
    }
    monkeypatch.setattr(training, "cross_entropy", lambda logits, *_, **__: logits.sum() * float("nan"))
    with pytest.raises(UserError) as refused:
        reference.run(parse_config(tree, "test"))
    sentence = "reference.lr: training diverged in epoch 1 (the loss is NaN or Inf) with 1; lower it"
    assert str(refused.value) == sentence
    assert not (tmp_path / "runs" / "default" / "reference" / "manifest.json").exists()


@pytest.mark.long
@pytest.mark.parametrize("shape", ["[" + "1," * 131_000 + "]", "{" + "a: 1, " * 43_000 + "}"])
def test_the_largest_texts_are_quick(tmp_path: Path, shape: str) -> None:
    """Of the shapes that take PyYAML longest."""
    refusal(written(tmp_path, shape))
