"""Where images come from: the sources that `images.source` names. CONTRIBUTING.md shows how to add one."""

from __future__ import annotations

from feedback_store.registry import Registry
from pipeline.data.sources.base import SPLITS, Entry, ImageSource, identity
from pipeline.data.sources.digits import DigitsSource
from pipeline.data.sources.folder import FolderSource
from pipeline.data.sources.parquet import ParquetSource
from pipeline.data.sources.webdataset import WebDatasetSource

__all__ = ["IMAGE_SOURCES", "SPLITS", "Entry", "ImageSource", "identity"]

IMAGE_SOURCES: Registry[type[ImageSource]] = Registry("image source", "image_rlhf.image_sources")
IMAGE_SOURCES.register("digits", DigitsSource)
IMAGE_SOURCES.register("folder", FolderSource)
IMAGE_SOURCES.register("parquet", ParquetSource)
IMAGE_SOURCES.register("webdataset", WebDatasetSource)
