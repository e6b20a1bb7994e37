"""Self-contained HTML pages: shared styles, escaped text, and embedded pictures and plots."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import jinja2
from PIL import Image

from pipeline.data.decode import BadImage, decode
from pipeline.data.image_table import ImageTable
from pipeline.run.atomic_files import printable

TEMPLATES = Path(__file__).with_name("templates")
THUMBNAIL = 160  # pixels of the longer side
MAX_BYTES = 2**30  # of an image file with a thumbnail


def percent(value: float | None, places: int = 1) -> str:
    """0.123 as 12.3 % with a non-breaking space; a dash for None."""
    return "–" if value is None else f"{100 * value:.{places}f}\u00a0%"


def points(value: float | None, places: int = 1) -> str:
    """A difference of two shares, 0.123 as +12.3; a dash for None."""
    return "–" if value is None else f"{100 * value:+.{places}f}".replace("-", "−")


def number(value: float | None, places: int = 3) -> str:
    """0.1234 as 0.123; a dash for None."""
    return "–" if value is None else f"{value:.{places}f}".replace("-", "−")


def render(folder: Path, template: str, **values: object) -> str:
    """A page from a template in `folder`, which may extend or import those in pipeline/ui/templates.

    Args:
        values: the template's variables; text is escaped, `Markup` (plots) is not.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "percent": percent,
        "points": points,
        "number": number,
        "printable": printable,
    }
    environment.filters.update(filters)
    return environment.get_template(template).render(**values)


def data_address(data: bytes, kind: str) -> str:
    """A data URL with these bytes; `kind` is their media type, e.g. image/png."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def thumbnail(table: ImageTable, image: str, max_pixels: int) -> str | None:
    """A small JPEG or PNG of an image of a table as a data URL; None if it is missing or cannot be read.

    Args:
        max_pixels: a larger image is not decoded.
    """
    try:
        picture = decode(table.read(image, MAX_BYTES), max_pixels)
    except BadImage:
        return None
    small = max(picture.size) <= THUMBNAIL
    scale = THUMBNAIL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    out = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(out, "PNG" if small else "JPEG", quality=85)
    return data_address(out.getvalue(), f"image/{'png' if small else 'jpeg'}")
