"""Installs a file as a package of somebody else would be: by its entry point, without touching the project."""

from __future__ import annotations

import shutil
from pathlib import Path

EXTENSIONS = Path(__file__).resolve().parents[1] / "extensions"


def install(site: Path, module: str, group: str, name: str, attribute: str) -> None:
    """Put tests/extensions/<module>.py into a folder that will be on PYTHONPATH, with metadata that names its entry point."""
    site.mkdir(exist_ok=True)
    shutil.copy(EXTENSIONS / f"{module}.py", site)
    metadata = site / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[image_rlhf.{group}]\n{name} = {module}:{attribute}\n")
