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
    """Write the estimate of the run's policy, and of a finished stage also into summary.json; all processes must call it.

    Args:
        log_pi: [N, C] of the policy; None: of the finished stage's, from the cached scores if possible.
    """
    finished, estimate = log_pi is None, None
    if ws.runtime.of_main(lambda: _has_audits(ws)):
        if log_pi is None:
            log_pi = log_policy(ws.scores(*ws.cut(ws.load_policy(ws.run.require("ppo", "model.safetensors")))))
        if ws.runtime.is_main:
            estimate = audited_accuracy(ws, log_pi.argmax(-1), read_gold_labels(ws.table, ws.classes))
    if ws.runtime.is_main:
        write_estimate(ws.run.path, estimate)
        if finished:
            ws.run.write_summary()


def _has_audits(ws: Workspace) -> bool:
    try:
        return bool(audit_images(ws.run.open_store()))
    except FeedbackError as error:  # the policy itself needs no judgments any more
        _log.warning("the policy's accuracy is not estimated: %s", error)
        return False
