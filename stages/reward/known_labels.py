"""Classes of the reference's labelled images, from which people's error rates are counted (docs/method.md 1)."""

from __future__ import annotations

from pipeline.data.labelled import read_labelled
from pipeline.run.workspace import Workspace


def known_labels(ws: Workspace) -> dict[str, str]:
    """Class name of each labelled image of the reference, by its id."""
    path = ws.run.path / "reference" / "labelled.csv"
    return dict(read_labelled(path)) if path.is_file() else {}
