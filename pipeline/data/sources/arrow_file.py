"""Arrow files: written atomically, memory-mapped when read, with a few values beside the columns."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc

from pipeline.run.atomic_files import writing

_log = logging.getLogger(__name__)
_METADATA = b"image-rlhf"


def with_info(schema: pa.Schema, info: dict[str, object]) -> pa.Schema:
    """A schema that carries some values."""
    return schema.with_metadata({_METADATA: json.dumps(info).encode()})


def info_of(schema: pa.Schema) -> dict[str, object]:
    """The values that `with_info` added."""
    return dict(json.loads((schema.metadata or {}).get(_METADATA, b"{}")))


def write_arrow(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Replace an Arrow file, so that a reader, or a power cut, sees the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with writing(path), partial.open("wb") as file:
            with ipc.new_file(file, schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_arrow(path: Path, schema: pa.Schema) -> pa.Table | None:
    """A memory-mapped Arrow file; None if it is missing, damaged, or has other columns."""
    try:
        table = ipc.open_file(pa.memory_map(str(path))).read_all()
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowInvalid) as error:
        _log.warning("%s: %s; it is made again", path, str(error).splitlines()[0])
        return None
    return table if table.schema.equals(schema, check_metadata=False) else None
