"""The commands that make a run again, with what its judgments were really collected with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from pipeline.run.workspace import Workspace
from stages.report.lineage import CHOSEN_BY_COMMAND, collected_with, flat


def commands(ws: Workspace) -> list[str]:
    """What makes this run again, given its config.yaml under the name of the run."""
    config = f"CONFIG={ws.config.name}.yaml"
    collect = ["make collect", config, *collect_options(collected_with(ws), ws.config.collect.model_dump(mode="json"))]
    return [
        f"make reference {config}",
        " ".join(collect),
        *(f"make {name} {config}" for name in ("train-reward", "ppo", "report")),
    ]


def collect_options(kept: Mapping[str, Any], written: Mapping[str, Any]) -> list[str]:
    """The variables that `make collect` needs to collect as the run did.

    Args:
        kept: the settings the stage kept; empty where it never ran, as with judgments that were imported.
        written: those of the configuration that is saved beside the report.
    """
    if not kept:
        return []
    options = []
    if kept.get("teacher", "people") != "people":  # the target asks people unless it is told otherwise
        options.append(_variable("TEACHER", str(kept["teacher"])))
    if kept.get("annotators") and kept["annotators"] != written["annotators"]:
        options.append(_variable("ANNOTATORS", ",".join(kept["annotators"])))
    if kept.get("ui", written["ui"]) != written["ui"]:
        options.append(_variable("UI", str(kept["ui"])))
    old, new = dict(flat(kept, "collect.")), dict(flat(written, "collect."))
    plain = {key: value for key, value in old.items() if isinstance(value, str | int | float) and " " not in str(value)}
    changed = [f"{k}={v}" for k, v in plain.items() if k in new and k not in CHOSEN_BY_COMMAND and new[k] != v]
    return options + ([_variable("SET", " ".join(changed))] if changed else [])


def _variable(name: str, value: str) -> str:
    """A variable for make, whatever is in it: make reads a dollar sign, the shell much else."""
    return f"{name}={shlex.quote(value.replace('$', '$$'))}"
