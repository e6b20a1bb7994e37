"""Which test modules are slow: they start servers, browsers or commands, or train. `make test-fast` leaves them out."""

from __future__ import annotations

from fnmatch import fnmatch

# Patterns of paths below tests/. A new module is fast until it is named here.
SLOW = (
    "benchmarks/*",
    "feedback_store/postgres/*",
    "feedback_store/test_seal_random_edits.py",
    "fuzz/*",
    "pipeline/data/test_decoder_pool.py",
    "pipeline/engines/test_ray.py",
    "pipeline/models/test_model_hub.py",
    "pipeline/run/test_signals.py",
    "pipeline/run/test_stage_lock.py",
    "pipeline/tracking/test_mlflow_wandb.py",
    "stages/collect/test_browser*",
    "stages/collect/test_changed_files.py",
    "stages/collect/test_live_kills.py",
    "stages/collect/test_live_process.py",
    "stages/collect/test_postgres*",
    "stages/collect/test_process.py",
    "stages/collect/test_web_wire.py",
    "stages/collect/test_window*",
    "stages/compare/test_compare.py",
    "stages/control/test_browser*",
    "stages/control/test_clips_process.py",
    "stages/control/test_commands.py",
    "stages/control/test_learning.py",
    "stages/control/test_people_rounds.py",
    "stages/control/test_rounds.py",
    "stages/export/test_export*",
    "stages/export/test_model_card.py",
    "stages/infer/test_ray_*",
    "stages/infer/test_resume.py",
    "stages/infer/test_window.py",
    "stages/ppo/test_learns.py",
    "stages/report/test_report_page.py",
    "stages/report/test_report_runs.py",
    "stages/reward/test_card.py",
    "stages/reward/test_truth.py",
    "stages/rounds/test_live.py",
    "stages/rounds/test_replay.py",
    "stages/rounds/test_rounds.py",
    "stages/serve/test_browser*",
    "stages/serve/test_connections.py",
    "stages/serve/test_hostile_images.py",
    "stages/serve/test_process.py",
    "stages/serve/test_wire.py",
    "stages/test_audit.py",
    "stages/test_grid_learns.py",
    "stages/test_pipeline_learns.py",
    "stages/test_resume.py",
    "stages/test_tracking.py",
    "stages/test_precision.py",
    "stages/test_trained_parts.py",
    "stages/test_processes.py",
    "test_cli*",
    "test_extension.py",
)


def is_slow(path: str) -> bool:
    """Whether the test module at this path below tests/ is one of them."""
    return any(fnmatch(path, pattern) for pattern in SLOW)
