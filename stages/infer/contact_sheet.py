"""A contact sheet: images with their predictions, on one PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.data.decode import BadImage, decode
from pipeline.models.predictor import Predictor
from pipeline.run.atomic_files import printable, write_atomically
from pipeline.ui.plots import BLUE
from stages.infer.journal import Line
from stages.infer.prediction_formats import Columns, Row

COLUMNS_PER_SHEET, PICTURE, PAD, GAP = (
    6,
    200,
    12,
    16,
)  # cells per row; pixels: picture's side, padding, gap between cells
LINE_HEIGHT = 22
CELL = (PICTURE + 2 * PAD, PICTURE + 2 * PAD + 12 + 3 * LINE_HEIGHT)
GROUND, PANEL, INK, QUIET, LINE = "#f6f5f2", "#ffffff", "#1f2523", "#5c6663", "#d9d8d2"


def contact_sheet(
    path: Path, lines: Iterator[Line], *, predicted: int, count: int, columns: Columns, predictor: Predictor
) -> None:
    """Draw `count` images, evenly spaced among all `predicted` ones, in order.

    A cell has the picture, its label (grey if the policy abstains), the confidence as a number and a bar, the file's
    name, and the reference's prediction if it was asked for and differs.
    """
    chosen = set(np.linspace(0, predicted - 1, min(count, predicted)).round().astype(int).tolist())
    good = (line for line in lines if "p" in line)
    rows = [columns.row(line) for place, line in enumerate(good) if place in chosen]
    across = min(COLUMNS_PER_SHEET, len(rows))
    down = -(-len(rows) // across)
    size = (GAP + across * (CELL[0] + GAP), GAP + down * (CELL[1] + GAP))
    sheet = Image.new("RGB", size, GROUND)
    draw = ImageDraw.Draw(sheet)
    for place, row in enumerate(rows):
        left, top = (GAP + n * (side + GAP) for n, side in zip((place % across, place // across), CELL, strict=True))
        _draw_cell(sheet, draw, (left, top), row=row, picture=_picture(Path(row["path"]), predictor))
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    write_atomically(path, out.getvalue())


def _picture(path: Path, predictor: Predictor) -> Image.Image | None:
    """The picture, scaled to the cell; None if the file cannot be read any more."""
    try:
        picture = decode(predictor.read(path), predictor.max_pixels)
    except BadImage:
        return None
    scale = PICTURE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _draw_cell(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int], *, row: Row, picture: Image.Image | None
) -> None:
    left, top = at
    right, bottom = left + CELL[0], top + CELL[1]
    draw.rounded_rectangle((left, top, right, bottom), 8, PANEL, LINE)
    inner = left + PAD
    if picture:
        sheet.paste(picture, (inner + (PICTURE - picture.width) // 2, top + PAD + (PICTURE - picture.height) // 2))
    y = top + PAD + PICTURE + 10
    number = f"{row['confidence']:.0%}"
    small, large, bold = _font(13), _font(15), _font(15, bold=True)
    draw.text((right - PAD, y), number, INK, large, anchor="ra")
    room = PICTURE - draw.textlength(number, large) - 8
    abstains = not row["label"]
    draw.text((inner, y), _shortened(draw, row["label"] or "unsure", bold, room), QUIET if abstains else INK, bold)
    y += LINE_HEIGHT + 1
    draw.rounded_rectangle((inner, y, inner + PICTURE, y + 5), 2, LINE)
    width = PICTURE * row["confidence"]
    draw.rounded_rectangle((inner, y, inner + max(4, width), y + 5), 2, QUIET if abstains else BLUE)
    y += 11
    draw.text((inner, y), _shortened(draw, Path(row["path"]).name, small, PICTURE), QUIET, small)
    before = row.get("reference_label", row["label"])
    if before and before != row["label"]:
        text = f"before: {before} {row['reference_confidence']:.0%}"
        draw.text((inner, y + LINE_HEIGHT - 3), _shortened(draw, text, small, PICTURE), INK, small)


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    import matplotlib as mpl  # slow to import: only where something is drawn

    fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(fonts / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size)


def _shortened(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """The text, cut and ended by an ellipsis if it is wider than `room` pixels."""
    text = printable(text)
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(text + "…", font) > room:
        text = text[:-1]
    return text + "…"
