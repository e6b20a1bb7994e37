"""When rounds stop before all questions are asked (`rounds.stop_accuracy`)."""

from __future__ import annotations

from pathlib import Path

from pipeline.run.atomic_files import read_json


def reason_to_stop(archive: Path, stop_accuracy: float | None) -> str | None:
    """Why no further round is needed after a finished one; None if one is.

    The reward model's accuracy on held-out answers counts, at the lower end of its 95 % interval, so that a few answers
    that happen to be predicted do not end the rounds.

    Args:
        archive: folder of the finished round.
        stop_accuracy: `rounds.stop_accuracy`.
    """
    if stop_accuracy is None:
        return None
    reward = read_json(archive / "reward" / "result.json")["reward"]
    low, high = reward["heldout_interval"]
    if low < stop_accuracy:
        return None
    return (
        f"no further round: the reward model agrees with {reward['heldout_accuracy']:.1%} [{low:.1%}, {high:.1%}] of "
        f"{reward['heldout_judgments']} held-out judgments, at least rounds.stop_accuracy ({stop_accuracy:.1%})"
    )
