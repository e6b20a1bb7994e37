"""Open a personal link in the user's browser without revealing it to other users of the machine."""

from __future__ import annotations

import html
import os
import shutil
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "open-"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>image-rlhf</title>
<meta http-equiv="refresh" content="0; url={url}"></head>
<body><p><a href="{url}">Open the page</a></p></body></html>
"""


def has_screen() -> bool:
    """Whether a browser can open a window on this machine."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextmanager
def opened_in_browser(url: str, folder: Path) -> Iterator[None]:
    """Open `url` in the browser, by a temporary file that redirects to it.

    Every user of the machine can see a browser's command line. It therefore names a file that redirects to the link, in a
    folder that only its owner may enter. The folder is below `folder`, because a sandboxed browser often cannot read the
    system's temporary folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob(f"{PREFIX}*"):  # of a server that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder, ignore_cleanup_errors=True) as private:
        path = Path(private).resolve() / "page.html"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(_PAGE.format(url=html.escape(url)))
        with suppress(webbrowser.Error, OSError):  # the link is printed, too
            webbrowser.open(path.as_uri())
        yield
