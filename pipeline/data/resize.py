"""From an RGB image to the square of pixels that a network takes.

Decoding processes import this module; it imports neither torch nor NumPy, so that they start in less than 0.1 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from pipeline.data.decode_limits import MAX_ASPECT

if TYPE_CHECKING:
    import numpy as np

    from pipeline.config import ImagesConfig


BILINEAR = "bilinear"
FILTER_RADIUS = {BILINEAR: 1, "bicubic": 2}  # of Pillow's filters, in pixels of the smaller of image and scaled image


@dataclass(frozen=True)
class Transform:
    """Shorter side to `resize` pixels (antialiased), then the centre square of `size` pixels.

    Attributes:
        interpolation: `bilinear` or `bicubic`.
    """

    size: int
    resize: int
    interpolation: str = BILINEAR

    @classmethod
    def of(cls, config: ImagesConfig, interpolation: str = BILINEAR) -> Transform:
        size = config.size or 224
        return cls(size, config.resize or size, interpolation)

    @property
    def key(self) -> str:
        """Part of cache keys; without `bilinear`, so that caches of earlier versions stay valid."""
        return f"{self.size}-{self.resize}" + ("" if self.interpolation == BILINEAR else f"-{self.interpolation}")

    @property
    def _filter(self) -> Image.Resampling:
        return Image.Resampling[self.interpolation.upper()]

    def __call__(self, image: Image.Image) -> np.ndarray:
        """An RGB image of any size to a uint8 array [size, size, 3]."""
        import numpy as np

        return np.asarray(self.square(image))

    def square(self, image: Image.Image) -> Image.Image:
        """An RGB image of any size to an RGB image of `size` by `size` pixels."""
        scale = self.resize / min(image.size)
        width, height = (max(self.size, round(side * scale)) for side in image.size)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        if max(width, height) > MAX_ASPECT * self.resize:
            return self._cropped_first(image, (width, height), (left, top))
        if (width, height) != image.size:
            image = image.resize((width, height), self._filter)
        return image.crop((left, top, left + self.size, top + self.size))

    def _cropped_first(self, image: Image.Image, scaled: tuple[int, int], corner: tuple[int, int]) -> Image.Image:
        """The same pixels, without allocating the complete scaled image.

        A margin around the square is scaled, too, as wide as the filter, so that the crop does not change any pixel of the
        square.
        """
        box, inner, out = [], [], []
        for side, scaled_side, start in zip(image.size, scaled, corner, strict=True):
            reach = math.ceil(
                (FILTER_RADIUS[self.interpolation] * max(1.0, side / scaled_side) + 1) * scaled_side / side
            )
            first, last = max(0, start - reach), min(scaled_side, start + self.size + reach)
            box.append((first * side / scaled_side, last * side / scaled_side))
            out.append(last - first)
            inner.append(start - first)
        (x0, x1), (y0, y1) = box
        part = image.resize((out[0], out[1]), self._filter, box=(x0, y0, x1, y1))
        return part.crop((inner[0], inner[1], inner[0] + self.size, inner[1] + self.size))
