"""The image source `webdataset`: images in tar files, read in ranges once the members of each are known.

As WebDataset writes them, files of a sample share their name up to the first dot: 0001.jpg is the image, 0001.cls its
class. Without .cls the class is the member's folder, as in the source `folder`.
"""

from __future__ import annotations

import hashlib
import tarfile
from array import array
from functools import cached_property
from pathlib import PurePosixPath
from typing import IO

import numpy as np
import pyarrow as pa

from pipeline.data.decode import GONE, BadImage
from pipeline.data.sources.base import SPLITS, folder_label
from pipeline.data.sources.block_cache import BLOCK_BYTES
from pipeline.data.sources.folder_listing import split_columns
from pipeline.data.sources.listing import batch_of
from pipeline.data.sources.shards import ShardSource, label_info, stamps
from pipeline.data.sources.storage import StoredFile, reading_shard
from pipeline.errors import UserError

CLASS_SUFFIX = "cls"
BESIDE = frozenset({CLASS_SUFFIX, "cls2", "json", "txt", "id", "index", "caption", "pyd", "pth", "npy", "ten"})
MAX_CLASS_BYTES = 4096
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}


class WebDatasetSource(ShardSource):
    """Keys are <shard>/<member>."""

    suffix = ".tar"
    schema = pa.schema(
        [
            ("member", pa.large_binary()),
            ("offset", pa.int64()),  # of its bytes in the shard
            ("size", pa.int64()),
            ("label", pa.string()),
            ("hash", pa.uint64()),  # of the members, sorted
            ("order", pa.int64()),  # the row of each hash
        ]
    )
    settings = ""

    def make_catalog(self, file: StoredFile) -> tuple[pa.Table, dict[str, object]]:
        with reading_shard(file, "tar file"), self.storage.open(file) as stream:
            members, offsets, sizes, classes = _members(stream, file)
        hashes = np.fromiter(map(_hash, members), np.uint64, len(members))
        order = hashes.argsort(kind="stable")
        last = np.append(hashes[order][1:] != hashes[order][:-1], True)[: len(order)]
        kept = np.sort(order[last])  # of two members of the same name the later one counts
        members = [members[row] for row in kept.tolist()]
        labels = pa.array([_label(member.decode("utf-8", "surrogatepass"), classes) for member in members], pa.string())
        order = hashes[kept].argsort(kind="stable")
        columns = [
            pa.array(members, pa.large_binary()),
            pa.array(np.frombuffer(offsets, np.int64)[kept]),
            pa.array(np.frombuffer(sizes, np.int64)[kept]),
            labels,
            pa.array(hashes[kept][order]),
            pa.array(order),
        ]
        tops = sorted({member.split(b"/", 1)[0].decode("utf-8", "replace") for member in members if b"/" in member})
        folders = [name for name in tops if name in SPLITS]
        return pa.table(columns, schema=self.schema), {"labels": label_info(labels), "folders": folders}

    def shard_entries(self, number: int, first_unit: int) -> tuple[list[pa.RecordBatch], int]:
        """Images in the same block of a shard are one unit, so that threads fetch different blocks."""
        file, name = self.files[number], self.names[number].encode("utf-8", "surrogatepass") + b"/"
        batches = []
        for some in self.catalog(number)[0].to_batches(max_chunksize=65_536):
            keys = pa.array([name + member for member in some.column("member").to_pylist()], pa.large_binary())
            units = first_unit + some.column("offset").to_numpy() // BLOCK_BYTES
            batches.append(batch_of(keys, unit=pa.array(units), **stamps(some.column("size").to_numpy(), file)))
        return batches, -(-file.size // BLOCK_BYTES)

    def with_splits(self, batch: pa.RecordBatch, number: int, split: str | None, named: set[str]) -> pa.RecordBatch:
        """As for other shards; where no shard is named val or test, members may lie in folders of these names."""
        folders = self._folders
        if named & {"val", "test"} or not folders:
            return super().with_splits(batch, number, split, named)
        start = len(self.names[number].encode("utf-8", "surrogatepass")) + 1
        members = pa.array([key[start:] for key in batch.column("key").to_pylist()], pa.large_binary())
        splits, outside = split_columns(members, folders)
        batch = batch.set_column(1, "split", splits)
        return batch if outside is None else batch.set_column(3, "outside", outside)

    @cached_property
    def _folders(self) -> set[str]:
        """Folders of members that are named as splits, over all shards."""
        return {name for number in range(len(self.files)) for name in self.catalog(number)[1]["folders"]}

    def find(self, key: str) -> tuple[int, int]:
        number, member = self.shard_of(key, "/")
        catalog, stored = self.catalog(number)[0], member.encode("utf-8", "surrogatepass")
        hashes = catalog.column("hash").chunk(0).to_numpy() if len(catalog) else np.empty(0, np.uint64)
        wanted = np.uint64(_hash(stored))
        at = int(np.searchsorted(hashes, wanted))
        if at == len(hashes) or hashes[at] != wanted:
            raise KeyError(key)
        return number, catalog.column("order")[at].as_py()

    def read(self, key: str, max_bytes: int) -> bytes:
        try:
            number, row = self.find(key)
        except KeyError:
            raise BadImage(GONE) from None
        catalog, _ = self.catalog(number)
        offset, size = catalog.column("offset")[row].as_py(), catalog.column("size")[row].as_py()
        if size > max_bytes:
            raise BadImage(f"too large: {size / 2**20:.0f} MiB, more than images.max_megabytes = {max_bytes / 2**20:g}")
        return self.storage.read(self.files[number], offset, offset + size)


def _members(stream: IO[bytes], file: StoredFile) -> tuple[list[bytes], array[int], array[int], dict[str, str]]:
    """Names, offsets and sizes of the files in a tar, and the class of each sample that has one.

    Raises:
        UserError: it is compressed.
        tarfile.TarError: it is damaged or truncated.
    """
    start = stream.read(2)
    if packed := COMPRESSED.get(start):
        raise UserError(
            f"{file.path}: a tar compressed by {packed}, in which images cannot be found without unpacking; unpack it to a .tar"
        )
    stream.seek(0)
    members: list[bytes] = []
    offsets, sizes, classes = array("q"), array("q"), {}
    with tarfile.open(fileobj=stream, mode="r:", errors="surrogateescape") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # they would be kept
            name = member.name.removeprefix("./")
            if not member.isreg() or member.sparse is not None or any(p.startswith(".") for p in name.split("/")):
                continue
            if member.offset_data + member.size > file.size:
                raise tarfile.ReadError(f"it ends within {name}")
            _, _, suffix = _sample(name)
            if suffix == CLASS_SUFFIX and member.size <= MAX_CLASS_BYTES:
                stream.seek(member.offset_data)
                classes[_sample(name)[0]] = stream.read(member.size).decode("utf-8", "replace").strip()
            if suffix in BESIDE:
                continue
            members.append(name.encode("utf-8", "surrogatepass"))
            offsets.append(member.offset_data)
            sizes.append(member.size)
        stream.seek(tar.offset)
    end = stream.read(tarfile.BLOCKSIZE)
    if end.count(0) != tarfile.BLOCKSIZE:  # the module ends at a damaged header without an error
        raise tarfile.ReadError(f"no member and no end of the archive at byte {tar.offset} of {file.size}")
    return members, offsets, sizes, classes


def _sample(member: str) -> tuple[str, str, str]:
    """The name of a member's sample, of its folder, and the member's suffix: what follows the first dot, in lower case."""
    folder, _, name = member.rpartition("/")
    base, _, suffix = name.partition(".")
    return f"{folder}/{base}", folder, suffix.lower()


def _label(member: str, classes: dict[str, str]) -> str | None:
    return classes.get(_sample(member)[0]) or folder_label(PurePosixPath(member).as_posix())


def _hash(member: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(member, digest_size=8).digest(), "big")
