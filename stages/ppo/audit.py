"""The policy's accuracy from audit answers, renewed whenever the stage is asked for (docs/audit.md)."""

from __future__ import annotations

import logging

from torch import Tensor

from feedback_store.audit import audit_images
from feedback_store.errors import FeedbackError
from pipeline.data.gold_labels import read_gold_labels
from pipeline.learning.audited_accuracy import audited_accuracy
from pipeline.models.policy import log_policy
from pipeline.run.estimate_file import write_estimate
from pipeline.run.workspace import Workspace

_log = logging.getLogger(__name__)


def update_estimate(ws: Workspace, log_pi: Tensor | None = None) -> None:
    """Write the estimate of the run's policy, and of a finished stage also into summary.json.

    Args:
        log_pi: [N, C] of the policy; None: of the finished stage's, from the cached scores if possible.
    """
    if not ws.runtime.is_main:
        return
    finished = log_pi is None
    if not _has_audits(ws):
        write_estimate(ws.run.path, None)
    else:
        if log_pi is None:
            log_pi = log_policy(ws.scores(*ws.cut(ws.load_policy(ws.run.require("ppo", "model.safetensors")))))
        gold = read_gold_labels(ws.table, ws.classes)
        write_estimate(ws.run.path, audited_accuracy(ws, log_pi.argmax(-1), gold))
    if finished:
        ws.run.write_summary()


def _has_audits(ws: Workspace) -> bool:
    try:
        return bool(audit_images(ws.run.open_store()))
    except FeedbackError as error:  # the policy itself needs no judgments any more
        _log.warning("the policy's accuracy is not estimated: %s", error)
        return False
