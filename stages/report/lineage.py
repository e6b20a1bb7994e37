"""The inputs and outputs of every stage, by hash, and whether they are unchanged."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import RunSettings, parse_config, read_saved_tree
from pipeline.data.gold_labels import read_gold_labels
from pipeline.data.labelled import read_labelled
from pipeline.models.serialization import weights_hash
from pipeline.run import versions
from pipeline.run.atomic_files import sha256_of
from pipeline.run.run_folder import TARGETS, StageFolder
from pipeline.run.workspace import Workspace

CHOSEN_BY_COMMAND = {"collect.teacher", "collect.annotators", "collect.ui"}  # `make collect` sets these, not the file
UNCHANGED, CHANGED, MISSING = "unchanged", "changed", "missing"
MAX_LISTED = 20  # files left out that are listed


def lineage(ws: Workspace) -> dict[str, Any]:
    """The images, every finished stage, the stages that are missing, and whether all is up to date."""
    done = [name for name in TARGETS if finished(ws.run.stage(name))]
    present = present_inputs(ws)
    stages = [_stage(ws, ws.run.stage(name), present) for name in done]
    _propagate(stages)
    # Judgments that were imported need no stage that collects them.
    missing = [name for name in TARGETS if name not in done and not (name == "collect" and _judgments(ws))]
    return {
        "images": _images(ws),
        "stages": stages,
        "missing": [{"stage": name, "target": TARGETS[name]} for name in missing],
        "up_to_date": not missing and not any(stage["reasons"] for stage in stages),
    }


def _propagate(stages: Sequence[dict[str, Any]]) -> None:
    """Mark a stage as stale if one of its inputs is from a stale stage, even if that file is unchanged."""
    stale: set[str] = set()
    for stage in stages:
        stale_inputs = [one["name"] for one in stage["inputs"] if one["name"] in stale and one["now"] == UNCHANGED]
        stage["reasons"] += [f"its input {name} is not up to date" for name in stale_inputs]
        if stage["reasons"]:
            stale.add(stage["stage"])


def finished(stage: StageFolder) -> bool:
    return (stage.path / "manifest.json").is_file()


def _images(ws: Workspace) -> dict[str, Any]:
    skipped = ws.table.skipped
    return {
        "fingerprint": ws.table.fingerprint,
        "used": len(ws.table),
        "splits": dict(Counter(ws.table.splits.tolist())),
        "left_out": len(skipped),
        "reasons": dict(Counter(file.reason.split(":")[0] for file in skipped)),
        "listed": [{"path": file.path, "reason": file.reason} for file in skipped[:MAX_LISTED]],
    }


def _stage(ws: Workspace, stage: StageFolder, present: Mapping[str, str]) -> dict[str, Any]:
    manifest = stage.run.read(stage.name, "manifest.json", "inputs", "outputs", "versions")
    result = stage.run.read(stage.name, "result.json", "seconds", "peak_rss_mb")
    inputs = [
        {
            "name": name,
            "hash": digest,
            "now": UNCHANGED if present.get(name) == digest else CHANGED if present.get(name) else MISSING,
        }
        for name, digest in manifest["inputs"].items()
    ]
    outputs = [
        {"name": name, "hash": digest, "now": _state(stage.path / name, digest)}
        for name, digest in manifest["outputs"].items()
    ]
    now = versions.installed()
    reasons = [_reason(file["name"], file["now"]) for file in (*inputs, *outputs) if file["now"] != UNCHANGED]
    reasons += [
        f"{name} was {version}, now it is {now.get(name)}"
        for name, version in manifest["versions"].items()
        if now.get(name) != version
    ]
    if stage.name == "reward":
        reasons += [f"{name} is new" for name in _judgments(ws) if name not in manifest["inputs"]]
    reasons += changed_settings(stage, manifest["settings"])
    # People's answers stay valid for their images: they are never stale, and never asked again.
    answered = stage.name == "collect" and by_people(ws)
    return {
        "stage": stage.name,
        "target": TARGETS[stage.name],
        "seconds": result["seconds"],
        "peak_rss_mb": result["peak_rss_mb"],
        "versions": manifest["versions"],
        "settings": manifest["settings"],
        "inputs": inputs,
        "outputs": outputs,
        "weights": _weights(ws, stage),
        "reasons": [] if answered else reasons,
        "notes": reasons if answered else [],
    }


def _reason(name: str, now: str) -> str:
    if name == "images":
        return "the images or their splits have changed"
    return f"{name} is missing" if now == MISSING else f"{name} has changed"


def _weights(ws: Workspace, stage: StageFolder) -> str | None:
    """Hash of a policy's tensors, as in /model, the model card and ONNX's metadata; it differs from the file's hash."""
    path = stage.path / "model.safetensors"
    if stage.name not in ("reference", "ppo") or not path.is_file():
        return None
    return weights_hash(ws.load_policy(path))


def collected_with(ws: Workspace) -> dict[str, Any]:
    """The settings that the stage `collect` saved: `make collect` overrides some of the file's."""
    saved = ws.run.path / "collect" / "config.yaml"
    tree = read_saved_tree(saved) if saved.is_file() else {}
    settings = tree.get("collect")
    return settings if isinstance(settings, dict) else {}


def by_people(ws: Workspace) -> bool:
    """Whether people answered; also true for imported judgments, where the stage never ran."""
    return bool(collected_with(ws).get("teacher", "people") == "people")


def _state(path: Path, digest: str) -> str:
    if not path.is_file():
        return MISSING
    return UNCHANGED if sha256_of(path) == digest else CHANGED


def _judgments(ws: Workspace) -> dict[str, str]:
    return ws.run.open_store().fingerprint()


def present_inputs(ws: Workspace) -> dict[str, str]:
    """The present hash of every possible input of a stage; missing inputs are left out."""
    config = ws.config
    files = {stage: ws.run.path / stage / "model.safetensors" for stage in ("reference", "reward")}
    files |= {
        name: path
        for name, path in (("checkpoint", config.reference.checkpoint), ("replay", config.collect.replay.csv))
        if path
    }
    hashes = {name: sha256_of(path) for name, path in files.items() if path.is_file()}
    return hashes | {"images": ws.table.fingerprint} | _labelled(ws) | _judgments(ws) | ws.weights_input()


def _labelled(ws: Workspace) -> dict[str, str]:
    """The hash of the reference's labelled images and their present labels, as stage 0 computes it."""
    path = ws.run.path / "reference" / "labelled.csv"
    if not path.is_file():
        return {}
    try:
        listed = [image for image, _ in read_labelled(path)]
    except ValueError:  # damaged
        return {}
    if any(image not in ws.table.position for image in listed):
        return {}
    gold = read_gold_labels(ws.table, ws.classes)
    pairs = " ".join(f"{image}={gold.labels[ws.table.position[image]]}" for image in listed)
    return {"labelled": hashlib.sha256(pairs.encode()).hexdigest()}


def changed_settings(stage: StageFolder, settings: str) -> list[str]:
    """The settings that changed since the stage ran, one sentence each.

    Args:
        settings: hash of the settings that the stage ran with.
    """
    if settings == stage.settings:
        return []
    saved = stage.path / "config.yaml"
    # A setting that did not exist yet had today's default.
    defaults = settings_of(parse_config({"images": {"source": "digits"}}, "defaults"))
    old = defaults | dict(flat(read_saved_tree(saved))) if saved.is_file() else {}
    new = settings_of(stage.run.config)
    relevant = ("seed", *stage.run.config.stage_sections[stage.name])
    keys = [key for key in {**old, **new} if key.split(".")[0] in relevant and old.get(key) != new.get(key)]
    sentences = [f"{key} was {old.get(key)}, now it is {new.get(key)}" for key in keys]
    if stage.name == "collect":
        return [text for key, text in zip(keys, sentences, strict=True) if key not in CHOSEN_BY_COMMAND]
    return sentences or ["its settings have changed"]


def settings_of(config: RunSettings) -> dict[str, Any]:
    """Every setting by its dotted key."""
    return dict(flat(config.model_dump(mode="json")))


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings, by dotted key."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
