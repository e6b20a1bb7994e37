"""Settings of the machine: device, threads, decoding time, checkpoints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from pipeline.config.base import Section, known

Precision = Literal["auto", "fp32", "bf16"]


class RuntimeConfig(Section):
    device: str = Field("auto", description="auto, cpu, cuda or mps")
    precision: Precision = Field(
        "auto",
        description="fp32, bf16 (autocast), or whichever is faster for the network on this machine, measured once",
    )
    decode_seconds: float = Field(
        30.0, gt=0, le=86_400, description="largest processor time in seconds to decode one image"
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads; default: torch's default; with ray, of each worker; default: 1"
    )
    engine: str = Field(
        "local",
        description="local or ray: where `infer` predicts and frozen prefixes are encoded; ray: on the cores of this "
        "machine, or on the cluster that the environment variable RAY_ADDRESS names",
    )
    ray_workers: int | None = Field(
        None, ge=1, le=100_000, description="processes of the engine ray; default: as many as cores or GPUs allow"
    )
    checkpoint_seconds: float = Field(
        20.0,
        ge=0,
        le=1e9,
        description="shortest time between two checkpoints; a stopped stage always saves one",
    )
    process_timeout: float = Field(
        3600.0,
        gt=0,
        le=1e9,
        description="seconds that a process waits for the others (torchrun) before it ends with an error",
    )
    shard: bool = Field(
        False,
        description="divide the trained weights and their optimiser over the processes (FSDP), for large backbones",
    )

    @field_validator("engine")
    @classmethod
    def _engine(cls, name: str) -> str:
        from pipeline.engines import ENGINES  # its modules take settings as arguments

        return known(ENGINES, name)
