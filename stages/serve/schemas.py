"""Response schemas of the HTTP API, as OpenAPI describes them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from pipeline.models.predictor import Prediction
from stages.serve.engine import Outcome, UnusableImage


class PolicyPrediction(BaseModel):
    """One policy's prediction for an image."""

    label: str | None = Field(description="the most probable class; null for a uniform reference")
    confidence: float = Field(description="its probability")
    entropy: float = Field(description="of the probabilities, in nats: 0 is certain, log C is uniform over C classes")
    probabilities: dict[str, float] = Field(description="of every class, in the model's order")


class ImagePrediction(PolicyPrediction):
    """The aligned policy's prediction for an image."""

    label: str = Field(description="the most probable class")
    name: str = Field(description="the file's name, or `image` for a body that is one image")
    reference: PolicyPrediction | None = Field(
        None, description="the reference's prediction, if it was asked for and there is a reference"
    )


class ImageError(BaseModel):
    """An image of a request with several that cannot be used."""

    name: str
    error: str = Field(description="why, and what to do")


class PredictResponse(BaseModel):
    """One entry per image, in the order they were sent."""

    predictions: list[ImagePrediction | ImageError]


class ErrorResponse(BaseModel):
    """Why the request failed, and what to do."""

    detail: str


class Health(BaseModel):
    status: Literal["ok", "stopping"]


class Limits(BaseModel):
    images: int = Field(description="in one request")
    bytes: int = Field(description="of one request")
    pixels: int = Field(description="of one image")


class Model(BaseModel):
    """The model that is served, and the limits of requests."""

    name: str = Field(description="of the run")
    classes: list[str] = Field(description="in the model's order")
    weights: str = Field(description="SHA-256 of the policy's weights: another value is another policy")
    reference: bool = Field(description="whether the reference can be asked as well")
    limits: Limits


def _fields(prediction: Prediction) -> dict[str, object]:
    return {
        "label": prediction.label,
        "confidence": prediction.confidence,
        "entropy": prediction.entropy,
        "probabilities": prediction.probabilities,
    }


def entry(name: str, outcome: Outcome | UnusableImage) -> ImagePrediction | ImageError:
    """One image's entry in the response."""
    if isinstance(outcome, UnusableImage):
        return ImageError(name=name, error=str(outcome))
    fields = {"name": name, **_fields(outcome.policy)}
    if before := outcome.reference:
        fields["reference"] = _fields(before) | {"label": None if before.is_uniform else before.label}
    return ImagePrediction.model_validate(fields)
