"""What IMAGES stands for, in which order."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from pipeline.errors import UserError
from stages.infer.inputs import open_source


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(pattern: str | Path, given: str = "") -> list[str]:
    return [str(path) for path in open_source(str(pattern), io.StringIO(given)).paths()]


def test_a_folder_is_searched_in_order_of_names(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.png", "b/10.png", "a.png", "c.png", "b/deep/1.png", ".hidden.png", ".git/x.png", "b.png")
    found = names(tmp_path)
    assert found == [str(tmp_path / n) for n in ("a.png", "b/10.png", "b/2.png", "b/deep/1.png", "b.png", "c.png")]
    assert open_source(str(tmp_path), io.StringIO()).count == 6
    assert names(tmp_path) == found, "the same again"


def test_links_are_files_but_no_circles(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png")
    os.symlink(tmp_path / "a/1.png", tmp_path / "link.png")  # noqa: PTH211
    os.symlink(tmp_path, tmp_path / "a" / "circle")  # noqa: PTH211
    os.symlink(tmp_path / "gone", tmp_path / "dangling.png")  # noqa: PTH211
    assert names(tmp_path) == [str(tmp_path / "a/1.png"), str(tmp_path / "link.png")]


def test_file_glob_and_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "x [1].png", "b.png", "a.jpg", "deep/a.png")
    assert names(tmp_path / "x [1].png") == [str(tmp_path / "x [1].png")], "a name is no glob if it is there"
    assert names(tmp_path / "*.png") == [str(tmp_path / "b.png"), str(tmp_path / "x [1].png")]
    assert names(tmp_path / "**/a.*") == [str(tmp_path / "a.jpg"), str(tmp_path / "deep/a.png")]
    listed = open_source("-", io.StringIO("z.png\n\nno such.png\r\na b.png"))
    assert listed.count is None
    assert list(map(str, listed.paths())) == ["z.png", "no such.png", "a b.png"], "as given"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names("~/b.png") == [str(tmp_path / "b.png")]


@pytest.mark.parametrize("pattern", ["nothing.png", "*.gif", "."])
def test_nothing_of_that_name(pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        open_source(pattern, io.StringIO())


def test_several_come_after_each_other(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.png", "a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    source = open_source([str(tmp_path / "b"), str(tmp_path / "a.png")], io.StringIO())
    assert [path.name for path in source.paths()] == ["1.png", "2.png", "a.png"]
    assert source.count == 3
    with pytest.raises(UserError, match=r"gone\.png: no such file"):
        open_source([str(tmp_path / "b"), "gone.png"], io.StringIO())
    with pytest.raises(UserError, match="cannot be combined"):
        open_source(["-", str(tmp_path / "b")], io.StringIO())
