"""Schemas of all kinds of judgment, by name."""

from feedback_store.schemas.base import Problem, Schema, Subject, per_image_names, schema_of, schemas, schemas_of
from feedback_store.schemas.grid import GRID
from feedback_store.schemas.pair import COMPARISON, IMAGE_COMPARISON, PairSchema
from feedback_store.schemas.per_image import LABEL, RATING, VERDICT, PerImageSchema

for _schema in (COMPARISON, IMAGE_COMPARISON, LABEL, VERDICT, RATING, GRID):
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
