"""Files at an address that fsspec knows. Reads are repeated after failures, checked, and kept in a local cache.

A read that fails for a reason that may pass (a timeout, a body that ends too early, 503) is repeated after a wait that
doubles. A range has a known length; anything shorter is a failure, so that no truncated file is ever used.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from pipeline.data.decode import GONE, BadImage
from pipeline.data.sources.block_cache import BlockCache
from pipeline.data.sources.listing import stamp_number
from pipeline.data.sources.storage import RangeFile, Storage, StoredFile
from pipeline.errors import UserError

_log = logging.getLogger(__name__)

ATTEMPTS, FIRST_WAIT = 6, 0.5  # of a read; seconds before the second attempt, doubled each time
READERS = 32  # threads that read from a remote storage
VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "blob_id", "created")
_T = TypeVar("_T")


def open_remote(url: str, cache: Path, cache_mb: float) -> tuple[Storage, str]:
    """The storage of an address, and its path there.

    Raises:
        UserError: a package that it needs is missing, or the address is invalid.
    """
    protocol = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        package = {"gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub"}.get(protocol)
        install = f"pip install {package}" if package else "pip install 'image-rlhf[remote]'"
        raise UserError(
            f"images.root: {protocol}:// needs a package that is not installed ({error}); run `{install}`"
        ) from None
    except ValueError as error:
        raise UserError(f"images.root: {url}: {error}; use a path, or an address such as s3://bucket/folder") from None
    return RemoteStorage(files, protocol, BlockCache(cache / "remote", int(cache_mb * 2**20))), path


class RemoteStorage(Storage):
    """Files that an fsspec file system has.

    Args:
        files: the file system.
        protocol: for messages, such as s3.
    """

    def __init__(self, files: Any, protocol: str, cache: BlockCache) -> None:
        self._files, self._cache, self.prefix = files, cache, f"{protocol}://"

    def stat(self, path: str) -> StoredFile | None:
        try:
            found = self._ask(path, lambda: self._files.info(path))
        except FileNotFoundError:
            return None
        return self._file(found) if found["type"] == "file" else None

    def glob(self, pattern: str) -> list[StoredFile]:
        found = self._ask(pattern, lambda: self._files.glob(pattern, detail=True))
        return sorted((self._file(one) for one in found.values() if one["type"] == "file"), key=lambda file: file.path)

    def stat_many(self, paths: list[str]) -> list[StoredFile | None]:
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self.stat, paths))

    def is_folder(self, path: str) -> bool:
        return bool(self._ask(path, lambda: self._files.isdir(path)))

    def below(self, folder: str) -> Iterator[StoredFile]:
        """Folder by folder, so that memory is bounded by the largest one."""
        waiting = [folder.rstrip("/")]
        while waiting:
            place = waiting.pop()
            for one in self._list(place):
                name = one["name"].rstrip("/").rsplit("/", 1)[-1]
                if name.startswith(".") or one["name"].rstrip("/") == place:
                    continue
                if one["type"] == "directory":
                    waiting.append(one["name"].rstrip("/"))
                else:
                    yield self._file(one)

    def _list(self, place: str) -> list[dict[str, Any]]:
        try:
            return self._ask(place, lambda: self._files.ls(place, detail=True, refresh=True))
        except FileNotFoundError:
            raise UserError(
                f"images.root: there is no {self.prefix}{place}; check the bucket's name and the path"
            ) from None

    def _file(self, found: dict[str, Any]) -> StoredFile:
        version = next((found[name] for name in VERSIONS if found.get(name)), "")
        return StoredFile(found["name"], int(found["size"] or 0), stamp_number(f"{version}"))

    def read(self, file: StoredFile, start: int, stop: int) -> bytes:
        return self._cache.read(file, start, stop, self._fetch)

    def _fetch(self, file: StoredFile, start: int, stop: int) -> bytes:
        def get() -> bytes:
            data = bytes(self._files.cat_file(file.path, start=start, end=stop))
            if len(data) != stop - start:
                raise OSError(f"the answer has {len(data)} bytes instead of {stop - start}")
            return data

        try:
            return self._ask(file.path, get)
        except FileNotFoundError:
            raise BadImage(GONE) from None

    def open(self, file: StoredFile) -> IO[bytes]:
        return cast(IO[bytes], RangeFile(self, file))

    def _ask(self, path: str, call: Callable[[], _T]) -> _T:
        """The result of a call, which is repeated after failures that may pass.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: no access, no credentials, or it failed ATTEMPTS times.
        """
        address = f"{self.prefix}{path}"
        for attempt in range(ATTEMPTS):
            try:
                return call()
            except (FileNotFoundError, UserError):
                raise
            except PermissionError as error:
                raise UserError(f"{address}: access denied ({_line(error)}); check the credentials") from error
            except Exception as error:  # every file system has its own errors
                if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
                    raise UserError(
                        f"{address}: no credentials ({_line(error)}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                        "AWS_PROFILE"
                    ) from error
                if attempt == ATTEMPTS - 1:
                    raise UserError(
                        f"{address}: failed {ATTEMPTS} times, the last time with {type(error).__name__}: {_line(error)}; "
                        "run the same command again, it resumes from what is saved"
                    ) from error
                wait = FIRST_WAIT * 2**attempt
                _log.info("%s: %s; again in %g s", address, _line(error), wait)
                time.sleep(wait)
        raise AssertionError


def _line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
