"""Settings of the images: source, decoding, size and augmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from feedback_store.errors import FeedbackError
from pipeline.config.base import MAX_CLASSES, MAX_IMAGE_SIZE, Fraction, Section, expand_address


class AugmentConfig(Section):
    """Random views of training images, with `trainable: all`; evaluation and prediction use images as they are."""

    shift: int = Field(0, ge=0, le=1024, description="largest translation in pixels, in each direction")
    flip: bool = Field(False, description="mirror left to right with probability 1/2")


class ImagesConfig(Section):
    source: str = Field(
        "folder",
        description="where images come from: digits (embedded), folder, webdataset (tar files), parquet, or a source that "
        "a package adds",
    )
    root: Path | str | None = Field(
        None,
        description="the folder, or the tar or Parquet files: a file, a folder, or a pattern such as train-{000..099}.tar; "
        "a path or an address (s3://, gs://, hf://); for digits, where to write them (runs/.cache/digits)",
    )
    image_column: str = Field("image", min_length=1, description="with parquet: the column of image files")
    label_column: str = Field("label", min_length=1, description="with parquet: the column of classes, if there is one")
    remote_cache_mb: float = Field(
        10_240,
        ge=0,
        le=1_000_000_000,
        description="MiB of images from an address that are kept on this machine (runs/.cache/remote); the least recently "
        "used are removed",
    )
    classes: list[str] | None = Field(
        None,
        max_length=MAX_CLASSES,
        description="class names, where the source does not name them (a folder without sub-folders per class)",
    )
    exclude: list[str] = Field([], description="globs of files to leave out, relative to the root")
    size: int | None = Field(
        None,
        ge=8,
        le=MAX_IMAGE_SIZE,
        description="side in pixels of the square the network sees; default: what its weights were trained on, 224 for "
        "torchvision's",
    )
    resize: int | None = Field(
        None,
        ge=8,
        le=MAX_IMAGE_SIZE,
        description="shorter side before the centre crop; default: size, or what the weights "
        "expect if size is not set either",
    )
    heldout_fraction: Fraction = Field(
        0.2, description="share of images held out, by content hash, where there is no val/ or test/"
    )
    max_pixels: Annotated[int, Field(gt=0, le=178_956_970)] = Field(  # above that Pillow refuses, too
        100_000_000, description="pixels of an image; a larger one is left out undecoded"
    )
    max_megabytes: int = Field(100, ge=1, le=16_384, description="MiB of a file; a larger one is left out unread")
    augment: AugmentConfig = AugmentConfig()

    @field_validator("root", mode="before")
    @classmethod
    def _root(cls, value: object) -> object:
        return expand_address(value) if isinstance(value, str) else value

    @field_validator("source")
    @classmethod
    def _source(cls, name: str) -> str:
        from pipeline.data.sources import IMAGE_SOURCES  # reads images, which a configuration need not

        try:
            IMAGE_SOURCES.get(name)
        except FeedbackError as error:
            raise ValueError(str(error)) from None
        return name

    @field_validator("classes")
    @classmethod
    def _classes(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and (len(names) < 2 or len(set(names)) != len(names) or not all(names)):
            raise ValueError("needs at least two distinct, non-empty class names")
        return names

    @model_validator(mode="after")
    def _sizes(self) -> ImagesConfig:
        from pipeline.data.sources import IMAGE_SOURCES

        IMAGE_SOURCES.get(self.source).check(self)
        if self.resize is not None and self.resize < (self.size or 0):
            raise ValueError("resize must not be smaller than size, or the centre crop would run over the edge")
        if self.augment.shift >= (self.size or MAX_IMAGE_SIZE):
            raise ValueError("augment.shift must be smaller than size, or nothing of the image would be left")
        return self
