"""Images in tar files and in Parquet files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from support.images import stripes


def striped(number: int) -> bytes:
    """A PNG of class number % 2."""
    out = io.BytesIO()
    stripes(number % 2, np.random.default_rng(number)).save(out, "PNG")
    return out.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar with these members, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def sample_tar(path: Path, numbers: Sequence[int]) -> Path:
    """A shard as WebDataset writes it: <number>.png and <number>.cls."""
    members: dict[str, bytes] = {}
    for number in numbers:
        members |= {f"{number:03}.png": striped(number), f"{number:03}.cls": b"%d\n" % (number % 2)}
    return write_tar(path, members)


def write_parquet(path: Path, numbers: Sequence[int], *, struct: bool = True, group: int = 4) -> Path:
    """A shard as the Hugging Face Hub has them: a struct of bytes and path, and a class label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [striped(number) for number in numbers]
    images = [{"bytes": data, "path": None} for data in files] if struct else files
    table = pa.table({"image": images, "label": [number % 2 for number in numbers]})
    if struct:
        features = b'{"info": {"features": {"label": {"names": ["lying", "upright"], "_type": "ClassLabel"}}}}'
        table = table.replace_schema_metadata({b"huggingface": features})
    pq.write_table(table, path, row_group_size=group)
    return path
