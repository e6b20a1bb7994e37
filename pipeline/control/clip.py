"""Clips: the frames of a segment as one film strip, a PNG image of frames in a grid, which any browser can play.

A clip's id is a hash of its frames, so that a clip that is drawn again is the same clip.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from pipeline.data.decode import BadImage
from pipeline.errors import UserError
from pipeline.kinds.page_items import Rendition
from pipeline.run.atomic_files import write_atomically

PREFIX = "clip-"
MAX_WIDTH = 300  # pixels of a frame; wider ones are scaled down
GAP, GAP_COLOUR = 2, 144  # pixels to the right of and below each frame, so that a film strip can be read as it is
MAX_STRIP_PIXELS = 48 * 2**20  # of a film strip: what a browser decodes at once
MAX_FPS = 1000.0
_ID = re.compile(rf"{PREFIX}[0-9a-f]{{16}}")
_FACTS = "clip"  # keyword of the PNG's text chunk


@dataclass(frozen=True)
class ClipFacts:
    """What a player needs to know of a film strip.

    Attributes:
        frames: their number, row by row from the top left.
        fps: frames per second at normal speed.
        width, height: of a frame, in pixels.
        columns: frames per row.
        gap: pixels between frames.
    """

    frames: int
    fps: float
    width: int
    height: int
    columns: int
    gap: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the film strip."""
        rows = -(-self.frames // self.columns)
        return self.columns * (self.width + self.gap), rows * (self.height + self.gap)


@dataclass(frozen=True, eq=False)
class Clip:
    """frames [T, H, W, 3] uint8, and how many of them are shown per second."""

    frames: np.ndarray
    fps: float


def clip_path(folder: Path, clip: str) -> Path:
    """The film strip of a clip in a folder of clips."""
    return folder / f"{clip}.png"


def save_clip(frames: np.ndarray, folder: Path, fps: float) -> str:
    """Write a film strip into `folder`, unless it is there, and return the clip's id.

    Args:
        frames: [T, H, W, 3] uint8; frames wider than `MAX_WIDTH` are scaled down.
        fps: frames per second.

    Raises:
        UserError: too many frames for one image.
        ValueError: not such an array, or no such speed.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(f"frames are uint8 [T, H, W, 3], not {frames.dtype} {list(frames.shape)}")
    if not 0 < fps <= MAX_FPS:
        raise ValueError(f"fps is {fps}; it is above 0 and at most {MAX_FPS:.0f}")
    small = scaled(frames)
    count, height, width = small.shape[:3]
    if small.size // 3 > MAX_STRIP_PIXELS:
        raise UserError(
            f"a clip of {count} frames of {width} x {height} pixels is too long to be shown; at most "
            f"{MAX_STRIP_PIXELS // (width * height)} frames fit, ask about shorter segments"
        )
    facts = ClipFacts(count, float(fps), width, height, max(1, round(math.sqrt(count * height / width))), GAP)
    described = json.dumps(asdict(facts), sort_keys=True)
    clip = PREFIX + hashlib.sha256(described.encode() + small.tobytes()).hexdigest()[:16]
    path = clip_path(folder, clip)
    if not path.is_file():
        text, out = PngImagePlugin.PngInfo(), io.BytesIO()
        text.add_text(_FACTS, described)
        Image.fromarray(_strip(small, facts)).save(out, "PNG", optimize=True, pnginfo=text)
        write_atomically(path, out.getvalue())
    return clip


def scaled(frames: np.ndarray) -> np.ndarray:
    """Frames [T, H, W, 3] at most `MAX_WIDTH` wide, with the same proportions."""
    height, width = frames.shape[1:3]
    if width <= MAX_WIDTH:
        return frames
    size = (MAX_WIDTH, max(1, round(height * MAX_WIDTH / width)))
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX)) for frame in frames])


def _strip(frames: np.ndarray, facts: ClipFacts) -> np.ndarray:
    """One picture of all frames; gaps, and cells after the last frame, are grey."""
    width, height = facts.size
    rows, columns = height // (facts.height + facts.gap), facts.columns
    cells = np.full((rows * columns, facts.height + facts.gap, facts.width + facts.gap, 3), GAP_COLOUR, np.uint8)
    cells[: len(frames), : facts.height, : facts.width] = frames
    grid = cells.reshape(rows, columns, *cells.shape[1:])
    return grid.transpose(0, 2, 1, 3, 4).reshape(height, width, 3)


def read_facts(folder: Path, clip: str) -> ClipFacts:
    """What is written in a film strip, without its pixels.

    Raises:
        UserError: it is missing or damaged.
    """
    return _read(folder, clip)[1]


def read_clip(folder: Path, clip: str) -> Clip:
    """A clip as it was saved.

    Raises:
        UserError: it is missing or damaged.
    """
    picture, facts = _read(folder, clip, pixels=True)
    height, width = facts.height + facts.gap, facts.width + facts.gap
    grid = np.asarray(picture).reshape(-1, height, facts.columns, width, 3)
    cells = grid.transpose(0, 2, 1, 3, 4).reshape(-1, height, width, 3)
    return Clip(cells[: facts.frames, : facts.height, : facts.width], facts.fps)


def _read(folder: Path, clip: str, pixels: bool = False) -> tuple[Image.Image, ClipFacts]:
    path = clip_path(folder, clip)
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            facts = _facts(picture.info.get(_FACTS, ""))
            if picture.size != facts.size or picture.mode != "RGB":
                raise ValueError("its size is not that of its frames")
            if pixels:
                picture.load()
            return picture, facts
    except FileNotFoundError:
        raise UserError(f"{path}: missing; restore it, or remove its run and start again") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged ({reason}); restore it, or remove its run and start again") from None


def _facts(text: Any) -> ClipFacts:
    """Raises ValueError for what `save_clip` has not written."""
    try:
        facts = ClipFacts(**json.loads(text))
        whole = (facts.frames, facts.width, facts.height, facts.columns)
        valid = all(isinstance(value, int) and value > 0 for value in whole) and isinstance(facts.gap, int)
        valid = valid and facts.gap >= 0 and 0 < facts.fps <= MAX_FPS
    except (ValueError, TypeError):
        valid = False
    if not valid:
        raise ValueError("no film strip of a clip")
    return facts


class ClipFiles:
    """The film strips of a folder, sent to the page as they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, item: str, side: int) -> Rendition:
        """The film strip of a clip, whatever the wanted side.

        Raises:
            BadImage: it is missing.
        """
        if not _ID.fullmatch(item):
            raise BadImage("no clip")
        try:
            return Rendition(clip_path(self._folder, item).read_bytes(), "image/png")
        except OSError as error:
            raise BadImage(error.strerror or "unreadable") from error

    def close(self) -> None:
        """Nothing is running."""
