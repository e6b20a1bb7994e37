"""Schemas of the page's requests; invalid bodies are refused with 422."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from stages.collect.tasks import Answer

MAX_BODY = 64 * 1024  # bytes, ten times the size of 100 answers
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NextBody(Body):
    holding: Annotated[list[Key], Field(max_length=500)] = []
    wanted: Annotated[int, Field(ge=0, le=50)] = 6


class AnswerBody(Body):
    """One answer or retraction; `age_ms` is its age in milliseconds by the browser's clock."""

    id: Id
    item: Key | None = None
    answer: Annotated[str, Field(max_length=500)] = ""
    response_ms: Annotated[int, Field(ge=0, lt=10**12)] | None = None
    age_ms: Annotated[int, Field(ge=0, lt=10**12)] = 0
    retracts: Id | None = None

    def as_answer(self) -> Answer:
        """The answer, with `created_at` by the server's clock."""
        given = datetime.now(UTC) - timedelta(milliseconds=self.age_ms)
        return Answer(
            id=self.id,
            item=self.item or "",
            answer=self.answer,
            response_ms=self.response_ms,
            created_at=given.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            retracts=self.retracts or "",
        )


class AnswersBody(Body):
    answers: Annotated[list[AnswerBody], Field(max_length=100)]


class ItemsBody(Body):
    items: Annotated[list[Key], Field(max_length=500)]
