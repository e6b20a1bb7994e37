"""Engines: where batches of images are computed. `infer.engine` and `runtime.engine` name one."""

from __future__ import annotations

from feedback_store.registry import Registry
from pipeline.engines.base import Build, Engine, Site, Worker
from pipeline.engines.local_engine import LocalEngine
from pipeline.engines.ray_engine import RayEngine

__all__ = ["ENGINES", "Build", "Engine", "Site", "Worker"]

ENGINES: Registry[Engine] = Registry("engine", "image_rlhf.engines")
ENGINES.register("local", LocalEngine())
ENGINES.register("ray", RayEngine())
