"""Schemas of all kinds of judgment, by name."""

from feedback_store.schemas.base import Problem, Schema, Subject, per_image_names, schema_of, schemas, schemas_of
from feedback_store.schemas.pair import ComparisonSchema, ImageComparisonSchema, PairSchema
from feedback_store.schemas.per_image import LabelSchema, PerImageSchema, RatingSchema, VerdictSchema

for _schema in (ComparisonSchema(), ImageComparisonSchema(), LabelSchema(), VerdictSchema(), RatingSchema()):
    schemas.register(_schema.name, _schema)

__all__ = [
    "PairSchema",
    "PerImageSchema",
    "Problem",
    "Schema",
    "Subject",
    "per_image_names",
    "schema_of",
    "schemas",
    "schemas_of",
]
