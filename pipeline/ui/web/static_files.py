"""The static files that all pages share: the theme and the helper for elements."""

from collections.abc import Iterable
from pathlib import Path

SHARED_FILES = Path(__file__).parent / "static"


def page_files(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """The static files of a page by name: its own, and the shared ones."""
    return {path.name: path for path in SHARED_FILES.iterdir()} | {name: folder / name for name in names}
