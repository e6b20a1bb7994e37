"""Settings of `make infer`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from pipeline.config.base import Probability, Section, known


class InferConfig(Section):
    engine: str | None = Field(None, description="local or ray; default: runtime.engine")
    batch_size: int = Field(64, ge=1, le=4096, description="images per forward pass")
    workers: int = Field(
        2,
        ge=1,
        le=256,
        description="processes that decode images while the network computes; with ray, of each of its workers",
    )
    format: Literal["csv", "jsonl", "parquet"] = Field(
        "csv", description="format of the predictions where no output file is named"
    )
    top_k: int = Field(
        0, ge=0, le=1_000_000, description="classes listed per image, most probable first; 0: all classes"
    )
    abstain_below: Probability = Field(0.0, description="no label where the confidence is lower (`abstain`); 0: never")
    reference: bool = Field(False, description="list the reference's prediction beside the policy's")
    contact_sheet: int = Field(
        0, ge=0, le=1000, description="images on a contact sheet beside the predictions; 0: no sheet"
    )

    @field_validator("engine")
    @classmethod
    def _engine(cls, name: str | None) -> str | None:
        from pipeline.engines import ENGINES  # its modules take settings as arguments

        return name and known(ENGINES, name)
