"""Settings that were renamed or added: old names are refused, but readable in configurations saved with runs.

Hashes of settings are taken under the original names and without what was added, so that a new version does not
invalidate finished stages.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import UserError

# Old dotted key -> new dotted key. CHANGELOG.md lists them with the version.
RENAMED_KEYS: dict[str, str] = {
    "infer.sheet": "infer.contact_sheet",
}
# Setting, by its present key: old value -> new value.
RENAMED_VALUES: dict[str, dict[str, str]] = {
    "ppo.penalty": {"learning": "current", "acting": "old"},
}
# Settings that earlier versions did not have, with the value that corresponds to those versions.
ADDED: dict[str, Any] = {
    "images.image_column": "image",
    "images.label_column": "label",
    "collect.store": "csv",
    "collect.strategy": "uniform",
    "collect.audit_fraction": 0.0,
    "collect.audit_width": 0.2,
    "collect.grid_tiles": 24,
    "collect.first_rows": None,
    "collect.simulated.miss_rate": None,
    "collect.simulated.false_alarm_rate": None,
    "model.lora_rank": 8,
    "reward.optimiser": "adamw",
    "reward.prior_sd": "auto",
    "reward.scale": "unit",
    "reward.unlabelled": "none",
    "reference.kind": "auto",
    "reference.optimiser": "adamw",
    "reference.prior_sd": "auto",
    "reference.names": {},
    "reference.templates": ["a photo of a {}."],
    "ppo.start": "reference",
    "collect.simulated.seconds": False,
    "collect.simulated.speed": 1.0,
    "collect.simulated.seconds_spread": 0.45,
    "collect.simulated.fatigue": 0.0,
    "rounds.count": None,
    "rounds.batches": None,
    "rounds.questions": None,
    "rounds.reward_updates": "epochs",
    "rounds.stop_accuracy": None,
    "runtime.engine": "local",
    "runtime.ray_workers": None,
    "infer.engine": None,
}

# Settings whose default changed without changing what stages learn from: present default -> the earlier one, also if the
# setting itself was added. The size is now what the network's source says, which is still 224 for torchvision; simulated
# response times change no answer and no id, so that collecting again would store nothing.
EARLIER_DEFAULTS: dict[str, tuple[Any, Any]] = {
    "images.size": (None, 224),
    "collect.simulated.seconds": (True, False),
}

# Settings that change no result, and are in no hash.
WITHOUT_EFFECT = ("images.remote_cache_mb",)

Tree = dict[str, Any]


def refuse_renamed(tree: Mapping[str, Any], where: str) -> None:
    """Raise UserError for the first old key or value in a configuration; the message has the new one.

    Args:
        where: names the configuration.
    """
    for old, new in RENAMED_KEYS.items():
        if any(_places(tree, old)):
            raise UserError(f"{where}: {old} was renamed to {new}; rename it")
    for key, values in RENAMED_VALUES.items():
        for section, leaf in _places(tree, key):
            if isinstance(value := section[leaf], str) and value in values:
                raise UserError(f"{where}: {key}: '{value}' was renamed to '{values[value]}'; write the new value")


def current_names(tree: Tree) -> Tree:
    """A copy of a saved configuration with new keys and values in place of old ones."""
    return _replaced(_moved(tree, RENAMED_KEYS), RENAMED_VALUES)


def with_added(tree: Tree) -> Tree:
    """A copy of a saved configuration in which settings that its version did not have are as that version behaved."""
    tree = copy.deepcopy(tree)
    for key, value in ADDED.items():
        section, leaf = _section(tree, key)
        if isinstance(section, dict):
            section.setdefault(leaf, value)
    return tree


def original_settings(tree: Tree) -> Tree:
    """A copy of a complete configuration as the earliest version had it: what hashes of settings are taken of.

    It has the oldest keys and values in place of new ones, and lacks settings that were added, at their earlier value.
    """
    values = {key: {new: old for old, new in pairs.items()} for key, pairs in RENAMED_VALUES.items()}
    tree = _moved(_replaced(tree, values), {new: old for old, new in RENAMED_KEYS.items()})
    for key, (present, earlier) in EARLIER_DEFAULTS.items():
        for section, leaf in _places(tree, key):
            if section[leaf] == present:
                section[leaf] = earlier
    if not _fits_reference_head(tree):
        tree = _replaced(tree, {"reference.optimiser": {"auto": "adamw"}})
    for key, value in ADDED.items():
        for section, leaf in _places(tree, key):
            if section[leaf] == value:
                del section[leaf]
    for key in WITHOUT_EFFECT:
        for section, leaf in _places(tree, key):
            del section[leaf]
    return tree


def _fits_reference_head(tree: Tree) -> bool:
    """Whether labels train a linear head of the reference, which `auto` does in another way than earlier versions."""
    reference, model = (tree.get(section) or {} for section in ("reference", "model"))
    labels = reference.get("labelled_per_class", 1) and not reference.get("checkpoint")
    return model.get("trainable") == "head" and bool(labels) and reference.get("kind") != "uniform"


def _moved(tree: Tree, table: Mapping[str, str]) -> Tree:
    tree = copy.deepcopy(tree)
    for key, other in table.items():
        for section, leaf in _places(tree, key):
            *parents, name = other.split(".")
            target = tree
            for parent in parents:
                target = target.setdefault(parent, {})
            target.setdefault(name, section.pop(leaf))
    return tree


def _replaced(tree: Tree, table: Mapping[str, Mapping[str, str]]) -> Tree:
    tree = copy.deepcopy(tree)
    for key, values in table.items():
        for section, leaf in _places(tree, key):
            if isinstance(section[leaf], str):
                section[leaf] = values.get(section[leaf], section[leaf])
    return tree


def _places(tree: Any, key: str) -> Iterator[tuple[Any, str]]:
    """The section that holds a dotted key, and the key's last part; nothing if the key is not there."""
    section, leaf = _section(tree, key)
    if isinstance(section, Mapping) and leaf in section:
        yield section, leaf


def _section(tree: Any, key: str) -> tuple[Any, str]:
    """Where a dotted key belongs, None if there is no such section; and the key's last part."""
    *sections, leaf = key.split(".")
    for name in sections:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree, leaf
