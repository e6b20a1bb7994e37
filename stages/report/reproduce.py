"""The commands that reproduce a run, with the options its judgments were collected with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from pipeline.run.workspace import Workspace
from stages.report.lineage import CHOSEN_BY_COMMAND, collected_with, flat


def commands(ws: Workspace) -> list[str]:
    """The commands that reproduce this run from its config.yaml, saved under the name of the run."""
    config = f"CONFIG={ws.config.name}.yaml"
    collect = ["make collect", config, *collect_options(collected_with(ws), ws.config.collect.model_dump(mode="json"))]
    return [
        f"make reference {config}",
        " ".join(collect),
        *(f"make {name} {config}" for name in ("train-reward", "ppo", "report")),
    ]


def collect_options(saved: Mapping[str, Any], configured: Mapping[str, Any]) -> list[str]:
    """The variables for `make collect` to collect as the run did.

    Args:
        saved: settings that the stage saved; empty if it never ran, as with imported judgments.
        configured: settings of the configuration that is saved with the report.
    """
    if not saved:
        return []
    options = []
    if saved.get("teacher", "people") != "people":  # the default of the target
        options.append(_variable("TEACHER", str(saved["teacher"])))
    if saved.get("annotators") and saved["annotators"] != configured["annotators"]:
        options.append(_variable("ANNOTATORS", ",".join(saved["annotators"])))
    if saved.get("ui", configured["ui"]) != configured["ui"]:
        options.append(_variable("UI", str(saved["ui"])))
    old, new = dict(flat(saved, "collect.")), dict(flat(configured, "collect."))
    plain = {key: value for key, value in old.items() if isinstance(value, str | int | float) and " " not in str(value)}
    unused = () if saved.get("teacher") == "simulated" else ("collect.simulated.",)
    used = {key: value for key, value in plain.items() if key not in CHOSEN_BY_COMMAND and not key.startswith(unused)}
    changed = [f"{key}={value}" for key, value in used.items() if key in new and new[key] != value]
    return options + ([_variable("SET", " ".join(changed))] if changed else [])


def _variable(name: str, value: str) -> str:
    """A variable for make, quoted for the shell and with dollar signs escaped for make."""
    return f"{name}={shlex.quote(value.replace('$', '$$'))}"
