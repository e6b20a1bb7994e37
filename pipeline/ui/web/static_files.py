"""What all pages share: colours, light and dark, a few plain elements, and how they are made."""

from collections.abc import Iterable
from pathlib import Path

SHARED = Path(__file__).parent / "static"


def page_files(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """The files that a page may ask for, by name: its own, and the shared ones."""
    return {path.name: path for path in SHARED.iterdir()} | {name: folder / name for name in names}
