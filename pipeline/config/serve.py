"""Settings of the page and the API that classify images with the aligned policy."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from pipeline.config.base import Section
from pipeline.config.hosts import AcceptedHost, ListenAddress


class ServeConfig(Section):
    """The page and the interface that classify images with the finished policy.

    A bearer token comes from the environment (IMAGE_RLHF_TOKEN): settings are saved and shown.
    """

    host: ListenAddress = Field("127.0.0.1", description="address to listen on; 0.0.0.0: all addresses of this machine")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8080, description="0 for any free one")
    allowed_hosts: list[AcceptedHost] = Field([], description="accepted Host headers besides localhost; `*`: any")
    batch_size: int = Field(32, ge=1, le=4096, description="largest batch of images")
    batch_wait_ms: float = Field(5.0, ge=0, le=3_600_000, description="longest wait for a batch to fill")
    workers: int = Field(
        2,
        ge=1,
        le=256,
        description="decoding processes; one more is kept free for images that are decoded quickly",
    )
    queue: int = Field(
        256,
        ge=1,
        le=100_000,
        description="largest number of waiting images; beyond it the answer is 503 with Retry-After",
    )
    max_images: int = Field(32, ge=1, le=10_000, description="images per request")
    max_megabytes: int = Field(20, ge=1, le=4096, description="MiB per request")
    max_pixels: Annotated[int, Field(gt=0, le=178_956_970)] = Field(25_000_000, description="pixels per image")
    decode_seconds: float = Field(
        10.0,
        gt=0,
        le=86_400,
        description="largest processor time to decode one image; beyond it the answer is 422",
    )
    waiting_megabytes: int = Field(
        128,
        ge=1,
        le=65_536,
        description="MiB of all requests that are being read or are waiting; beyond it the answer is 503",
    )
    connections: int = Field(
        2048, ge=1, le=1_000_000, description="open connections; beyond it the one that sends slowest is closed"
    )
    grace_seconds: float = Field(
        10.0,
        gt=0,
        le=86_400,
        description="time limit for shutting down after Ctrl-C or SIGTERM",
    )
    read_seconds: float = Field(
        20.0,
        gt=0,
        le=86_400,
        description="time limit for a request's headers, and again for its body",
    )

    @model_validator(mode="after")
    def _fits(self) -> ServeConfig:
        if self.max_images > self.queue:
            raise ValueError(
                f"max_images = {self.max_images} would never fit into queue = {self.queue}; make one smaller or the other larger"
            )
        if self.max_megabytes > self.waiting_megabytes:
            raise ValueError(
                f"max_megabytes = {self.max_megabytes} would never fit into waiting_megabytes = {self.waiting_megabytes}"
            )
        return self
