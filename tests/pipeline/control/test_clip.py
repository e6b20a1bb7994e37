"""Film strips: what is saved is what is read and shown; damaged files are named."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.clips import drawn_frames

from pipeline.control import clip as module
from pipeline.control.clip import ClipFacts, ClipFiles, clip_path, read_clip, read_facts, save_clip
from pipeline.data.decode import BadImage
from pipeline.errors import UserError


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 23),
    height=st.integers(1, 40),
    width=st.integers(1, 300),
    fps=st.floats(0.1, 240),
    seed=st.integers(0, 99),
)
def test_frames_come_back(
    tmp_path_factory: pytest.TempPathFactory, count: int, height: int, width: int, fps: float, seed: int
) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    folder = tmp_path_factory.mktemp("clips")
    saved = read_clip(folder, save_clip(frames, folder, fps))
    assert saved.fps == fps
    np.testing.assert_array_equal(saved.frames, frames)


def test_a_strip_by_hand(tmp_path: Path) -> None:
    """Five frames of 4 x 2 pixels: sqrt(5 * 2 / 4) is 1.6, so two columns; the sixth cell is grey, as the gaps."""
    frames = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 2, 4, 3), np.uint8) * 40
    clip = save_clip(frames, tmp_path, fps=10)
    facts = read_facts(tmp_path, clip)
    assert facts == ClipFacts(frames=5, fps=10.0, width=4, height=2, columns=2, gap=2)
    strip = np.asarray(Image.open(clip_path(tmp_path, clip)))
    assert strip.shape == (3 * (2 + 2), 2 * (4 + 2), 3)
    assert strip[::4, ::6, 0].tolist() == [[0, 40], [80, 120], [160, 144]]
    assert strip[2::4, 5::6, 0].tolist() == [[144, 144]] * 3
    assert [path.name for path in tmp_path.iterdir()] == [f"{clip}.png"]


def test_the_id_is_a_hash_of_what_is_seen(tmp_path: Path) -> None:
    frames = drawn_frames(0)
    facts = {"frames": 12, "fps": 20.0, "width": 120, "height": 80, "columns": 3, "gap": 2}
    described = json.dumps(facts, sort_keys=True).encode()
    expected = "clip-" + hashlib.sha256(described + frames.tobytes()).hexdigest()[:16]
    assert save_clip(frames, tmp_path, 20) == expected
    stamp = clip_path(tmp_path, expected).stat().st_mtime_ns
    assert save_clip(frames, tmp_path, 20) == expected
    assert clip_path(tmp_path, expected).stat().st_mtime_ns == stamp, "written once"
    assert len({save_clip(frames, tmp_path, 30), save_clip(frames[:-1], tmp_path, 20), expected}) == 3


def test_wide_frames_are_scaled_down(tmp_path: Path) -> None:
    """600 x 400 becomes 300 x 200, each pixel the mean of four."""
    frames = np.zeros((2, 400, 600, 3), np.uint8)
    frames[:, ::2, ::2] = 200
    clip = read_clip(tmp_path, save_clip(frames, tmp_path, 50))
    assert clip.frames.shape == (2, 200, 300, 3)
    assert set(np.unique(clip.frames)) == {50}


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (2, 4, 4), (2, 4, 4, 4), (2, 0, 4, 3)])
def test_other_arrays_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="frames are uint8"):
        save_clip(np.zeros(shape, np.uint8), tmp_path, 10)


def test_impossible_speeds_and_lengths_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for fps in (0, -1, float("nan"), 1001):
        with pytest.raises(ValueError, match="fps is"):
            save_clip(drawn_frames(0), tmp_path, fps)
    monkeypatch.setattr(module, "MAX_STRIP_PIXELS", 11 * 120 * 80)
    with pytest.raises(UserError, match=r"12 frames of 120 x 80 pixels is too long .*; at most 11 frames fit"):
        save_clip(drawn_frames(0), tmp_path, 20)
    assert list(tmp_path.iterdir()) == []


def _picture(**options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "PNG", **options)  # type: ignore[arg-type]
    return out.getvalue()


def _described(**facts: object) -> bytes:
    from PIL import PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_text(
        "clip", json.dumps({"frames": 1, "fps": 1.0, "width": 4, "height": 4, "columns": 1, "gap": 0} | facts)
    )
    return _picture(pnginfo=text)


def _huge() -> bytes:
    """A header that promises 10^10 pixels."""
    data = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + data + struct.pack(">I", zlib.crc32(data))


DAMAGED = {
    "empty": b"",
    "no picture": b"clip",
    "another picture": _picture(),
    "another size": _described(columns=2),
    "negative": _described(frames=-1),
    "text": _described(width="4"),
    "no speed": _described(fps=0),
    "a negative gap": _described(gap=-1),
    "more facts": _described(sound=1),
    "huge": _huge(),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_strips_are_named(tmp_path: Path, content: bytes) -> None:
    clip = "clip-" + 16 * "0"
    path = clip_path(tmp_path, clip)
    path.write_bytes(content)
    for read in (read_facts, read_clip):
        with pytest.raises(UserError, match=r"damaged \(.*\); restore it") as raised:
            read(tmp_path, clip)
        assert str(path) in str(raised.value)


def test_missing_and_cut_strips_are_named(tmp_path: Path) -> None:
    clip = save_clip(drawn_frames(3), tmp_path, 20)
    path = clip_path(tmp_path, clip)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"damaged"):
        read_clip(tmp_path, clip)
    path.unlink()
    with pytest.raises(UserError, match=r"missing; restore it"):
        read_facts(tmp_path, clip)


def test_the_page_gets_the_bytes_of_the_file(tmp_path: Path) -> None:
    clip = save_clip(drawn_frames(0), tmp_path, 20)
    (tmp_path / "secret.png").write_bytes(b"x")
    files = ClipFiles(tmp_path)
    sent = files.get(clip, 256)
    assert (sent.data, sent.media_type) == (clip_path(tmp_path, clip).read_bytes(), "image/png")
    for name in ("clip-" + 16 * "0", "secret", "../clips/" + clip):
        with pytest.raises(BadImage):
            files.get(name, 256)
    files.close()
