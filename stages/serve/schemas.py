"""What the interface answers, as OpenAPI describes it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from pipeline.models.predictor import Prediction
from stages.serve.engine import Outcome, Unusable


class Opinion(BaseModel):
    """What one policy says of an image."""

    label: str | None = Field(description="the likeliest class; null for a reference that takes all for equally likely")
    confidence: float = Field(description="its probability")
    entropy: float = Field(description="of the probabilities, in nats: 0 is certain, log C is no idea")
    probabilities: dict[str, float] = Field(description="of every class, in the model's order")


class Predicted(Opinion):
    """What the aligned policy says of an image."""

    label: str = Field(description="the likeliest class")
    name: str = Field(description="the file's name, or `image` for a body that is one image")
    reference: Opinion | None = Field(None, description="what the reference says, if it was asked for and there is one")


class Refused(BaseModel):
    """An image of several that cannot be used."""

    name: str
    error: str = Field(description="why, and what to do")


class Answer(BaseModel):
    """One entry an image, in the order they were sent."""

    predictions: list[Predicted | Refused]


class Problem(BaseModel):
    """Why there is no answer, and what to do."""

    detail: str


class Health(BaseModel):
    status: Literal["ok", "stopping"]


class Limits(BaseModel):
    images: int = Field(description="in one request")
    bytes: int = Field(description="of one request")
    pixels: int = Field(description="of one image")


class Model(BaseModel):
    """What answers."""

    name: str = Field(description="of the run")
    classes: list[str] = Field(description="in the model's order")
    weights: str = Field(description="SHA-256 of the policy's weights: another value is another policy")
    reference: bool = Field(description="whether the reference can be asked as well")
    limits: Limits


def _opinion(prediction: Prediction) -> dict[str, object]:
    return {
        "label": prediction.label,
        "confidence": prediction.confidence,
        "entropy": prediction.entropy,
        "probabilities": prediction.probabilities,
    }


def entry(name: str, outcome: Outcome | Unusable) -> Predicted | Refused:
    """One image's entry in the answer."""
    if isinstance(outcome, Unusable):
        return Refused(name=name, error=str(outcome))
    said = {"name": name, **_opinion(outcome.policy)}
    if before := outcome.reference:
        said["reference"] = _opinion(before) | {"label": None if before.is_uniform else before.label}
    return Predicted.model_validate(said)
