"""manifest.json of a finished stage: the hashes of its inputs, settings and outputs, and their verification.

A manifest is written last, so that a stage without one is not finished. A model file without a manifest in its folder
(an export, a copy) is not verified.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.run import next_command
from pipeline.run.atomic_files import Damaged, read_object, sha256_of

NAME = "manifest.json"
RESULT = "result.json"
SHOWN_DIGITS = 12  # of a hash, in messages
# The make target of each stage, for messages.
TARGETS = {"reference": "reference", "collect": "collect", "reward": "train-reward", "ppo": "ppo"}

# Verified files, so that each is read once per process: path, inode, size, modification time and hash.
_VERIFIED: set[tuple[Path, int, int, int, str]] = set()


@dataclass(frozen=True)
class Manifest:
    """The inputs and outputs of a finished stage.

    Attributes:
        path: of the file.
        inputs: hash of each input, by name.
        settings: hash of the settings the stage depends on.
        versions: of torch and torchvision.
        outputs: SHA-256 of each output, by file name.
        result: SHA-256 of result.json; None in manifests of earlier versions.
    """

    path: Path
    settings: str
    inputs: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    result: str | None = None

    @property
    def stage(self) -> str:
        return self.path.parent.name

    def digest(self, name: str) -> str | None:
        """The hash of an output in the manifest; None if it has none."""
        return self.result if name == RESULT else self.outputs.get(name)

    def changed(self, name: str) -> str:
        """How a file of the stage differs from its hash, for messages; empty if it does not, or has no hash."""
        expected, path = self.digest(name), self.path.parent / name
        if expected is None:
            return ""
        status = path.stat()
        known = (path, status.st_ino, status.st_size, status.st_mtime_ns, expected)
        if known in _VERIFIED:
            return ""
        actual = sha256_of(path)
        if actual == expected:
            _VERIFIED.add(known)
            return ""
        return (
            f"{path}: changed after the stage was finished: its SHA-256 starts with {actual[:SHOWN_DIGITS]}, the manifest "
            f"has {expected[:SHOWN_DIGITS]}"
        )

    def verify(self, name: str) -> None:
        """Compare a file of the stage with its hash; a file without one passes.

        Raises:
            UserError: they differ; the message has both hashes and the target of the stage.
        """
        if reason := self.changed(name):
            raise UserError(f"{reason}; {how_to_remake(self.stage)}")


def how_to_remake(stage: str) -> str:
    """What to do about a damaged stage, for messages."""
    if stage not in TARGETS:
        return "create it again"
    return f"`{next_command.make(TARGETS[stage])} FORCE=1` runs the stage again"


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a stage's folder; None if the stage is not finished.

    Raises:
        UserError: there is one, and it is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        return _parsed(path, read_object(path))
    except Damaged as error:
        raise UserError(f"{path}: damaged manifest ({error}); {how_to_remake(folder.name)}") from None


def _parsed(path: Path, found: dict[str, Any]) -> Manifest:
    if not isinstance(found.get("settings"), str):
        raise Damaged("'settings' is missing or not a string")
    hashes: dict[str, dict[str, str]] = {}
    for name in ("inputs", "versions", "outputs"):
        value = found.get(name, {})
        if not isinstance(value, dict) or not all(isinstance(digest, str) for digest in value.values()):
            raise Damaged(f"'{name}' is not a mapping of names to strings")
        hashes[name] = value
    if any("/" in name or "\\" in name or name in (".", "..") for name in hashes["outputs"]):
        raise Damaged("'outputs' names a file outside the stage's folder")
    result = found.get("result")
    if not isinstance(result, str | None):
        raise Damaged("'result' is not a string")
    return Manifest(path, found["settings"], result=result, **hashes)


def verify_model_file(path: Path) -> None:
    """Compare a model file with the manifest in its folder, if there is one that has the file.

    Other programs also write files called manifest.json: outside a stage's folder an invalid one is ignored.

    Raises:
        UserError: the hashes differ, or the manifest of a stage is damaged.
    """
    try:
        manifest = read_manifest(path.parent)
    except UserError:
        if path.parent.name in TARGETS:
            raise
        return
    if manifest:
        manifest.verify(path.name)
