"""Read Label Studio's JSON: a list of tasks with data and annotations, which have results of control tags.

Pairwise is a comparison: left and right are the first and second object in the tag's `toName` in the labelling
configuration. With Image objects the task's `label` is the label asked about; with Text objects the texts are the labels and
the task's `image` is the image. Choices are a verdict if they are yes and no and the task has a `label`, otherwise a
label choice. Rating rates the task's `label`. Cancelled annotations are counted and left out.
Format: labelstud.io/guide/task_format and labelstud.io/guide/export.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from feedback_store.errors import FeedbackError, shown
from feedback_store.exchange.common import (
    Names,
    derived_id,
    milliseconds,
    text_of,
    utc_time,
    utf8_text,
    whole_number,
)
from feedback_store.exchange.imported import Entry, Imported, Reject
from feedback_store.exchange.json_text import value_at
from feedback_store.exchange.label_studio_config import Objects
from feedback_store.records import Comparison, Judgment, PerImage
from feedback_store.schemas import PerImageSchema, schemas_of
from feedback_store.schemas.pair import OTHER_ANSWERS, PairSchema


def _tasks(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Each task with the line it starts on."""
    position, line, counted = 0, 1, 0

    def skip(characters: str) -> None:
        nonlocal position
        while position < len(text) and text[position] in characters:
            position += 1

    skip(" \t\r\n")
    if text[position : position + 1] != "[":
        raise FeedbackError(f'{path}, line 1: not a list of tasks; export "JSON" (not "JSON-MIN") from Label Studio')
    position += 1
    while True:
        skip(" \t\r\n,")
        line, counted = line + text.count("\n", counted, position), position
        if text[position : position + 1] == "]":
            return
        try:
            task, position = value_at(text, position)
        except FeedbackError as error:
            within = error.__cause__
            line = within.lineno if isinstance(within, json.JSONDecodeError) else line
            raise FeedbackError(f"{path}, line {line}: {error}; export the project again") from error
        yield line, task


def read(path: Path, names: Names, config: str | None = None, annotator: str = "imported") -> Imported:
    """Judgments of an export.

    Args:
        config: the labelling configuration (XML); needed for Pairwise, except in exports of this project.

    Raises:
        FeedbackError: not UTF-8, not JSON, or not a list of tasks.
    """
    text = utf8_text(path)
    objects = Objects.of(config) if config else None
    imported = Imported()
    for line, task in _tasks(path, text):
        annotations = task.get("annotations") if isinstance(task, dict) else None
        if not isinstance(annotations, list) or not isinstance(task.get("data"), dict):
            imported.rejects.append(Reject(line, "a task without data and annotations", task))
            continue
        if not annotations:
            imported.left_out["tasks nobody annotated"] += 1
        for annotation in annotations:
            record = {**task, "annotations": [annotation]}
            try:
                entries = _read_annotation(task, annotation, names, objects, annotator, imported.left_out)
                imported.entries += [replace(entry, line=line, record=record) for entry in entries]
            except FeedbackError as error:
                imported.rejects.append(Reject(line, str(error), record))
            except (AttributeError, TypeError, LookupError, ValueError):
                imported.rejects.append(Reject(line, "the annotation is not of the documented form", record))
    return imported.resolve_ids()


def _read_annotation(
    task: dict[str, Any], annotation: dict[str, Any], names: Names, objects: Objects | None, who: str, out: Counter[str]
) -> list[Entry]:
    if annotation.get("was_cancelled"):
        out["cancelled annotations"] += 1
        return []
    entries = []
    time = utc_time(annotation.get("created_at"))
    for result in annotation["result"]:
        meta = result.get("meta") or {}
        own_id = len(annotation["result"]) == 1 and text_of("unique_id", annotation.get("unique_id"))
        common: dict[str, Any] = {
            "id": own_id or derived_id(task.get("id"), annotation.get("id"), json.dumps(result, sort_keys=True)),
            "annotator": _person(annotation.get("completed_by"), who),
            "round": whole_number("round", meta.get("round")) or 0,
            "response_ms": milliseconds("lead_time", annotation.get("lead_time")),
            "source": text_of("source", meta.get("source")) or "import",
            **time,
        }
        judgment = _judgment(task["data"], result, names, objects, common)
        entries.append(Entry(judgment, 0, None, has_id=bool(own_id), has_time=bool(time)))
    if not entries:
        out["annotations without a result"] += 1
    return entries


def _person(completed_by: Any, default: str) -> str:
    """A number, or an object with an e-mail address."""
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return text_of("completed_by", completed_by).removesuffix("@image-rlhf.invalid") or default


def _judgment(
    data: Mapping[str, Any], result: Mapping[str, Any], names: Names, objects: Objects | None, common: dict[str, Any]
) -> Judgment:
    kind, value, control = result["type"], result["value"], result["from_name"]
    if kind == "pairwise":
        selected = value["selected"]
        if selected not in ("left", "right"):
            raise FeedbackError(f"Pairwise selected {shown(selected)}, neither left nor right")
        return _comparison(data, result, "a" if selected == "left" else "b", names, objects, common)
    image = _data_of(data, result["to_name"], "image", objects)
    # In reverse, because the label choice reads any choice.
    per_image = [schema for schema in schemas_of("per_image")[::-1] if isinstance(schema, PerImageSchema)]
    if rated := next((schema for schema in per_image if schema.reads_tag(kind)), None):
        return _answer(rated, data, names.image(image), str(value["rating"]), names, common)
    if kind != "choices":
        raise FeedbackError(
            f"the control tag {shown(control)} is of type {shown(kind)}; only Pairwise, Choices and Rating can be imported"
        )
    if len(value["choices"]) != 1:
        raise FeedbackError(f"{len(value['choices'])} choices; exactly one is needed")
    answer = str(value["choices"][0])
    if control == "otherwise" and answer in OTHER_ANSWERS:
        return _comparison(data, result, answer, names, objects, common)
    chosen = next(schema for schema in per_image if schema.reads_choice(control, answer, data))
    return _answer(chosen, data, names.image(image), answer, names, common)


def _answer(
    schema: PerImageSchema, data: Mapping[str, Any], image: str, answer: str, names: Names, common: dict[str, Any]
) -> PerImage:
    label, answer = schema.import_cells(text_of("the label", data.get("label")), answer, names)
    return PerImage(image=image, question=schema.name, label=label, answer=answer, **common)


def _data_of(data: Mapping[str, Any], name: str, default: str, objects: Objects | None) -> Any:
    return data.get(objects.key.get(name, default) if objects else default)


def _comparison(
    data: Mapping[str, Any],
    result: Mapping[str, Any],
    choice: str,
    names: Names,
    objects: Objects | None,
    common: dict[str, Any],
) -> Comparison:
    (image_a, label_a), (image_b, label_b) = _sides(data, result["from_name"], names, objects)
    shown = (result.get("meta") or {}).get("shown_first") or "a"
    return Comparison(
        image_a=image_a, label_a=label_a, image_b=image_b, label_b=label_b, choice=choice, shown_first=shown, **common
    )


def _sides(data: Mapping[str, Any], control: str, names: Names, objects: Objects | None) -> list[tuple[str, str]]:
    """Image and label of the left and of the right object."""
    if objects is None:
        pairs = [schema for schema in schemas_of("pairwise") if isinstance(schema, PairSchema)]
        own = next((schema for schema in pairs if schema.label_studio_keys() <= data.keys()), None)
        if own is None:
            raise FeedbackError(
                "only the labelling configuration names the left and the right object; add it with --label-config"
            )
        objects = Objects.of(own.label_studio_config(()))
    tags = objects.to_name.get("better" if control == "otherwise" else control) or []
    if len(tags) != 2:
        raise FeedbackError(f"the labelling configuration has no Pairwise {shown(control)} with two names in toName")
    sides = []
    for name in (part.strip() for part in tags):
        value = data.get(objects.key.get(name, ""))
        if objects.is_image.get(name):
            sides.append((names.image(value), names.label(data.get("label"))))
        else:
            sides.append((names.image(data.get("image")), names.label(value)))
    return sides
