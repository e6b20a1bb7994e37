"""`make data`: a real HTTP server on this machine, archives of every kind of wrong."""

from __future__ import annotations

import functools
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.data.download import EXPECTED, download_ants_bees
from pipeline.errors import UserError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """URL and folder of a web server."""
    folder = tmp_path / "www"
    folder.mkdir()
    made = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}/archive.zip", folder
    made.shutdown()
    thread.join()
    made.server_close()


def archive(path: Path, missing: int = 0, evil: bool = False) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for part, count in EXPECTED.items():
            for number in range(count - missing):
                file.writestr(f"hymenoptera_data/{part}/{number}.jpg", f"{part} {number}")
        file.writestr("hymenoptera_data/train/ants/.DS_Store", "x")
        if evil:
            file.writestr("../evil.txt", "x")
            file.writestr("other/evil.txt", "x")


def test_download_verify_unpack(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    archive(folder / "archive.zip", evil=True)
    root = download_ants_bees(tmp_path / "data", url)
    assert len(list(root.glob("train/ants/*.jpg"))) == EXPECTED["train/ants"]
    assert not list(tmp_path.rglob("evil.txt")), "nothing outside the archive's own folder is unpacked"
    assert download_ants_bees(tmp_path / "data", "http://127.0.0.1:9/none") == root, "a second call needs no network"


def test_no_network_says_where_to_put_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        download_ants_bees(tmp_path / "data", "http://127.0.0.1:9/archive.zip")
    assert str(tmp_path / "data" / "hymenoptera_data.zip") in str(error.value)
    archive(tmp_path / "data" / "hymenoptera_data.zip")
    assert download_ants_bees(tmp_path / "data", "http://127.0.0.1:9/archive.zip").is_dir()


def test_damaged_and_foreign_archives_are_refused(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    archive(folder / "archive.zip", missing=1)
    with pytest.raises(UserError, match="train/ants has 122 photographs"):
        download_ants_bees(tmp_path / "one", url)
    archive(folder / "archive.zip")
    data = bytearray((folder / "archive.zip").read_bytes())
    data[45:48] = b"???"
    (folder / "archive.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"damaged|not a zip"):
        download_ants_bees(tmp_path / "two", url)
    (folder / "archive.zip").write_text("<html>not found</html>")
    with pytest.raises(UserError, match="not a zip archive"):
        download_ants_bees(tmp_path / "three", url)
    assert not list(tmp_path.glob("*/hymenoptera_data"))
