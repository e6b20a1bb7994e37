"""The table at the end of a run: reference and aligned policy compared."""

from __future__ import annotations

from typing import Any

import click

from pipeline.run.estimate_file import sentence


def _percent(value: float | None) -> str:
    return "no gold" if value is None else f"{value:.1%}"


def comparison_table(summary: dict[str, Any]) -> str:
    """Reference and aligned policy as a table, from summary.json."""
    reference, reward, policy = summary["reference"], summary["reward"], summary["policy"]
    rows = [
        ("accuracy on test images", _percent(reference["accuracy"]), _percent(policy["accuracy"])),
        (f"objective J (optimum J* = {policy['J_star']:.3f})", f"{policy['J_ref']:.3f}", f"{policy['J']:.3f}"),
        ("attained, training images", "0.0%", _percent(policy["attained"])),
        ("attained, held-out images", "0.0%", _percent(policy["attained_heldout"])),
        ("KL to the reference, nats", "0.000", f"{policy['kl']:.3f}"),
    ]
    width = max(len(name) for name, _, _ in rows)
    seconds = sum(summary["seconds"].values())
    lines = [
        "",
        click.style(f"{summary['name']}: {summary['judgments']} judgments, {seconds:.0f} s", bold=True)
        + f"  (reward model alone: {_percent(reward['argmax_accuracy'])})",
        f"{'':{width}}  {'reference':>10}  {'aligned':>10}",
        *(f"{name:{width}}  {before:>10}  {after:>10}" for name, before, after in rows),
    ]
    if estimate := policy.get("estimate"):
        lines.append(sentence(estimate))
    return "\n".join(lines)
