"""What Label Studio documents of an import of annotated tasks, as a JSON schema."""

from __future__ import annotations

TASKS_SCHEMA = {  # labelstud.io/guide/task_format and labelstud.io/guide/tasks: what an import of annotated tasks may hold
    "type": "array",
    "items": {
        "type": "object",
        "required": ["data", "annotations"],
        "properties": {
            "id": {"type": "integer"},
            "data": {"type": "object", "additionalProperties": {"type": "string"}},
            "annotations": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["result"],
                    "properties": {
                        "id": {"type": "integer"},
                        "unique_id": {"type": "string"},
                        "task": {"type": "integer"},
                        "completed_by": {
                            "type": "object",
                            "required": ["id", "email"],
                            "properties": {
                                "id": {"type": "integer"},
                                "email": {"type": "string", "pattern": "^.+@.+$"},
                            },
                        },
                        "was_cancelled": {"type": "boolean"},
                        "ground_truth": {"type": "boolean"},
                        "lead_time": {"type": ["number", "null"]},
                        "created_at": {"type": "string"},
                        "result": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["id", "from_name", "to_name", "type", "value"],
                                "properties": {
                                    "type": {"enum": ["pairwise", "choices", "rating"]},
                                    "value": {
                                        "oneOf": [
                                            {
                                                "required": ["selected"],
                                                "properties": {"selected": {"enum": ["left", "right"]}},
                                            },
                                            {
                                                "required": ["choices"],
                                                "properties": {
                                                    "choices": {"type": "array", "items": {"type": "string"}}
                                                },
                                            },
                                            {"required": ["rating"], "properties": {"rating": {"type": "integer"}}},
                                        ]
                                    },
                                },
                            },
                        },
                    },
                    "additionalProperties": False,
                },
            },
        },
        "additionalProperties": False,
    },
}
