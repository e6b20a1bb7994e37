"""The comparison as a table, a plot and a conclusion in words (docs/method.md 9)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import Config
from pipeline.learning.statistics import t_interval
from pipeline.ui.plots import BLUE, COLOURS, GREY, ORANGE, figure, svg
from stages.compare.baselines import ARGMAX, DISTILLATION, DPO, PPO, REFERENCE, SUPERVISED

COLUMNS = {  # factor and decimals of each
    "accuracy": (100, 1),
    "KL": (1, 2),
    "J": (1, 3),
    "attained": (1, 3),
    "attained held-out": (1, 3),
    "ECE": (100, 1),
    "images": (1, 0),
    "seconds": (1, 1),
}

MARKERS = "osD^vP*Xh<>dpHx"  # filled at first, then open
BASELINE_COLOURS = [colour for colour in COLOURS if colour != ORANGE]  # PPO alone is orange
PPO_STYLE: dict[str, Any] = {"fmt": "8", "color": ORANGE, "ms": 10, "zorder": 4}


def _mean_and_interval(values: np.ndarray, factor: float, digits: int) -> str:
    values = values[~np.isnan(values)]
    if not len(values):
        return ""
    mean, half = t_interval(factor * values)
    return f"{mean:.{digits}f}" if np.isnan(half) or not half else f"{mean:.{digits}f} ± {half:.{digits}f}"


def paired(frame: pd.DataFrame, one: str, other: str, column: str) -> np.ndarray:
    """Differences one - other, one per seed; empty where a method is missing."""
    wide = frame.pivot(index="seed", columns="method", values=column).astype(float)
    return (wide[one] - wide[other]).to_numpy() if {one, other} <= set(wide) else np.array([])


def _beta(config: Config, frame: pd.DataFrame) -> str:
    """The beta that J and attained are computed with: the KL controller's at PPO's end."""
    if not config.ppo.kl_target and config.ppo.beta != "auto":
        return f"beta {config.ppo.beta:g}"
    return f"beta {'at the end of PPO' if config.ppo.kl_target else 'chosen by train-reward'} {_mean_and_interval(frame.groupby('seed')['beta'].first().to_numpy(), 1, 3)}"


def markdown(config: Config, frame: pd.DataFrame) -> str:
    """A table: one line per method, mean and 95 % t interval over seeds, and PPO's paired lead in accuracy."""
    heads = [
        "method",
        "accuracy %",
        "KL (nats)",
        "J",
        "attained",
        "attained, held-out",
        "ECE %",
        "images trained on",
        "seconds",
        "PPO is ahead by (points)",
    ]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for name in frame["method"].unique():
        own = frame[frame["method"] == name]
        cells = [_mean_and_interval(own[column].astype(float).to_numpy(), *how) for column, how in COLUMNS.items()]
        lead = paired(frame, PPO, name, "accuracy")
        ahead = "" if name == PPO or not len(lead) or np.isnan(lead).all() else _mean_and_interval(lead, 100, 1)
        n = pd.to_numeric(own["note"], errors="coerce").dropna()
        note = "" if n.empty else f" (n = {n.min():.0f}" + (f" to {n.max():.0f})" if n.min() < n.max() else ")")
        texts = [text for text in own["note"].dropna().unique() if text and n.empty]
        note = note or "".join(f" ({text})" for text in texts)
        lines.append(f"| {name}{note} | {' | '.join([*cells, ahead])} |")
    seeds = frame["seed"].nunique()
    about = f"{config.name}: {_beta(config, frame)}, {seeds} seed{'s' if seeds > 1 else ''}"
    where = "accuracy, KL and ECE on test images, J and attained on training images"
    reward = f"seconds exclude the reward model ({frame['reward seconds'].mean():.0f} per seed), which all but the reference, "
    return (
        f"{about}; mean ± half of the 95 % t interval; {where}; {reward}supervised learning and DPO need\n\n"
        + "\n".join(lines)
    )


def conclusion(frame: pd.DataFrame) -> str:
    """Whether PPO was worth it, in words: its lead over each baseline, and how distillation of pi* compares."""
    if PPO not in set(frame["method"]):
        return f"Without '{PPO}' in the table there is nothing to compare it with."
    if frame["accuracy"].isna().all():
        return (
            "Without known classes there is no accuracy to compare; `attained` shows how close each is to the optimum."
        )
    comparisons, leads = [], {}
    for baseline, name in (
        (REFERENCE, "the reference"),
        (SUPERVISED, "supervised training on the same judgments"),
        (ARGMAX, "the reward model's own best class"),
        (DPO, "DPO"),
    ):
        lead = paired(frame, PPO, baseline, "accuracy")
        if len(lead):
            leads[baseline] = lead
            comparisons.append(f"{_comparative(lead)} {name}{_interval(lead)}")
    distilled = paired(frame, PPO, DISTILLATION, "accuracy")
    seconds = frame.groupby("method")["seconds"].mean()
    if not comparisons:
        return "There is no baseline in the table."
    text = "Is PPO worth it here? PPO is " + "; ".join(comparisons) + ". "
    ahead = [baseline for baseline, lead in leads.items() if _sign(lead) > 0]
    behind = [baseline for baseline, lead in leads.items() if _sign(lead) < 0]
    level = [baseline for baseline in leads if baseline not in ahead and baseline not in behind]
    if behind:
        text += f"No: {', '.join(behind)} is more accurate. "
    elif not level and {SUPERVISED, ARGMAX} <= set(ahead):
        text += "Yes: neither the judgments alone nor the reward model alone is as accurate. "
    elif ahead:
        rest = ", ".join(level) or "the others"
        text += f"It gains on {', '.join(ahead)}; its difference to {rest} is not significant with these seeds. "
    else:
        text += "No difference is significant with these seeds. "
    if len(distilled):
        ratio = seconds[PPO] / max(seconds[DISTILLATION], 1e-9)
        text += (
            "Where classes can be enumerated the optimum is known and can be distilled: PPO is "
            f"{_comparative(distilled)} that{_interval(distilled)}, and takes {ratio:.1f} times its seconds."
        )
    return text


def _sign(lead: np.ndarray) -> int:
    mean, half = t_interval(lead)
    if np.isnan(half):
        return 0
    return int(mean - half > 0) - int(mean + half < 0)


def _comparative(lead: np.ndarray) -> str:
    return {1: "more accurate than", -1: "less accurate than", 0: "not significantly different from"}[_sign(lead)]


def _interval(lead: np.ndarray) -> str:
    mean, half = t_interval(100 * lead)
    return (
        f" ({mean:+.1f} points"
        + ("" if np.isnan(half) else f", 95 % interval {mean - half:+.1f} to {mean + half:+.1f}")
        + ")"
    )


def _baseline_style(place: int) -> dict[str, Any]:
    """Marker and colour of the baseline at a place of the table."""
    colour = BASELINE_COLOURS[place % len(BASELINE_COLOURS)]
    style: dict[str, Any] = {"fmt": MARKERS[place % len(MARKERS)], "color": colour, "ms": 6, "zorder": 3}
    return style | ({"mfc": "white"} if place >= len(MARKERS) else {})


def frontier_plot(frame: pd.DataFrame, curve: pd.DataFrame) -> str:
    """Accuracy against KL: pi* over beta and best-of-n over n as curves, every method as a point with its intervals."""
    plot, axes = figure(7.2, 4.4)
    curve = curve.dropna(subset=["accuracy"])
    for name, colour, line in (("pi*", BLUE, "-"), ("best-of-n", GREY, "--")):
        mean = curve[curve["curve"] == name].groupby("at")[["KL", "accuracy"]].mean()
        if len(mean):
            label = {"pi*": "pi*, over beta", "best-of-n": "best-of-n, over n"}[name]
            axes.plot(mean["KL"], 100 * mean["accuracy"], color=colour, ls=line, lw=1.5, label=label, zorder=1)
    shown = [name for name in frame["method"].unique() if frame.loc[frame["method"] == name, "accuracy"].notna().any()]
    ends: list[float] = []
    for place, name in enumerate(shown):
        own = frame[frame["method"] == name]
        x, (y, half) = float(own["KL"].mean()), t_interval(100 * own["accuracy"].astype(float).to_numpy())
        style = PPO_STYLE if name == PPO else _baseline_style(place)
        axes.errorbar(x, y, yerr=None if np.isnan(half) else half, capsize=2, lw=1, label=name, **style)
        ends += [y - min(np.nan_to_num(half), 8), y + min(np.nan_to_num(half), 8)]
    if ends:
        axes.set_ylim(min(ends) - 2, max(ends) + 2)
    axes.set_xlim(left=-0.03 * axes.get_xlim()[1])
    axes.set_xlabel("KL to the reference on test images (nats)")
    axes.set_ylabel("accuracy (%)")
    if ends:
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return svg(plot)
