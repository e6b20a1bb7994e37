"""Images on S3: a local server behind a proxy that fails. Everything is read again, and nothing corrupt is used."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.faulty_proxy import FAULTS, FaultyProxy, faulty_proxy
from support.shards import sample_tar, striped, write_parquet

from pipeline.config import ImagesConfig
from pipeline.data.image_table import read_images
from pipeline.data.sources import identity
from pipeline.data.sources.block_cache import BLOCK_BYTES, BlockCache
from pipeline.data.sources.remote_storage import ATTEMPTS, RemoteStorage
from pipeline.data.sources.storage import StoredFile
from pipeline.errors import UserError

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (extra `remote`)")
s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed (extra `remote`)")
moto_server = pytest.importorskip("moto.server", reason="moto's server is not installed (extra `dev`)")

TIMEOUT = 0.4  # seconds that the client waits for an answer
COUNT = 24
ROOTS = {
    "folder": "s3://pictures/folder",
    "webdataset": "s3://pictures/shards/train-{000..001}.tar",
    "parquet": "s3://pictures/shards/*.parquet",
}


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The port of an S3 server on this machine."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield running.get_host_and_port()[1]
    running.stop()


@pytest.fixture
def bucket(server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A bucket of images behind a proxy, which does not fail yet."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr("pipeline.data.sources.remote_storage.FIRST_WAIT", 0.01)
    settings = {"config_kwargs": {"read_timeout": TIMEOUT, "connect_timeout": 5, "retries": {"max_attempts": 0}}}
    monkeypatch.setitem(fsspec.config.conf, "s3", settings)
    with faulty_proxy(server) as (proxy, address):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3fs.S3FileSystem.clear_instance_cache()
        files = s3fs.S3FileSystem()
        if not files.exists("pictures"):
            files.mkdir("pictures")
            for number in range(COUNT):
                files.pipe_file(f"pictures/folder/train/{number % 2}/{number:03}.png", striped(number))
            local = [
                sample_tar(tmp_path / f"train-{shard:03}.tar", range(12 * shard, 12 * shard + 12)) for shard in (0, 1)
            ]
            for path in [*local, write_parquet(tmp_path / "train.parquet", range(COUNT))]:
                files.put_file(str(path), f"pictures/shards/{path.name}")
        yield proxy
        s3fs.S3FileSystem.clear_instance_cache()


def config(source: str, **settings: object) -> ImagesConfig:
    return ImagesConfig(source=source, root=ROOTS[source], size=16, heldout_fraction=0.3, **settings)  # type: ignore[arg-type]


@pytest.mark.long
@pytest.mark.parametrize("source", ["folder", "webdataset", "parquet"])
@pytest.mark.parametrize("limit_mb", [4096, 0])
def test_every_image_is_whole_whatever_fails(bucket: FaultyProxy, tmp_path: Path, source: str, limit_mb: int) -> None:
    """Every answer fails once, in turn by a timeout, by a body that ends too early, and by 503."""
    bucket.faults = FAULTS
    table, pixels = read_images(config(source), tmp_path / "cache", limit_mb=limit_mb)
    assert set(bucket.injected) == set(FAULTS) if source == "folder" else sum(bucket.injected.values())
    assert list(table.ids) == sorted(identity(striped(number)) for number in range(COUNT))
    assert not table.skipped
    bucket.faults = ()
    local = tmp_path / "local"
    for number in range(COUNT):
        (local / "train/a").mkdir(parents=True, exist_ok=True)
        (local / f"train/a/{number}.png").write_bytes(striped(number))
    _, expected = read_images(ImagesConfig(root=local, size=16, heldout_fraction=0.3), tmp_path / "other")
    assert torch.equal(pixels.batch(torch.arange(COUNT)), expected.batch(torch.arange(COUNT)))


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_each_failure_is_repeated(bucket: FaultyProxy, tmp_path: Path, fault: str) -> None:
    bucket.faults = (fault,)
    table, _ = read_images(config("webdataset"), tmp_path / "cache")
    assert bucket.injected[fault] == 2, "one block of each shard"
    assert len(table) == COUNT


def test_a_second_opening_reads_nothing_but_stamps(bucket: FaultyProxy, tmp_path: Path) -> None:
    first, _ = read_images(config("webdataset"), tmp_path / "cache")
    before = sum(bucket.requests.values())
    second, _ = read_images(config("webdataset"), tmp_path / "cache")
    assert first.fingerprint == second.fingerprint
    assert second.read(second.ids[3], 2**20) == second.source.read(second.paths[3], 2**20)
    assert sum(bucket.requests.values()) == before, "images come from the local cache"


def test_without_a_local_cache_images_are_fetched_again(bucket: FaultyProxy, tmp_path: Path) -> None:
    table, _ = read_images(config("webdataset", remote_cache_mb=0), tmp_path / "cache")
    before = sum(bucket.requests.values())
    assert identity(table.read(table.ids[0], 2**20)) == table.ids[0]
    assert sum(bucket.requests.values()) == before + 1
    assert not list((tmp_path / "cache" / "remote").rglob("*"))


def test_an_error_that_stays_ends_the_command_and_is_resumed_from(
    bucket: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that cannot be reached are not taken for bad ones."""
    bucket.faults, bucket.failures = ("short",), ATTEMPTS
    message = r"s3://pictures/shards/train-00\d\.tar: failed 6 times, the last time with .*; run the same command again"
    with pytest.raises(UserError, match=message):
        read_images(config("webdataset"), tmp_path / "cache")
    bucket.faults = ()
    table, _ = read_images(config("webdataset"), tmp_path / "cache")
    assert len(table) == COUNT
    assert not table.skipped


def test_what_the_user_can_fix(bucket: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(root: str, source: str = "webdataset") -> None:
        read_images(ImagesConfig(source=source, root=root, size=16), tmp_path / "cache")

    with pytest.raises(UserError, match=r"there is no s3://nowhere/a; check the bucket's name and the path"):
        opened("s3://nowhere/a")
    with pytest.raises(UserError, match=r"there is no s3://nowhere/a; check the bucket's name and the path"):
        opened("s3://nowhere/a", "folder")
    with pytest.raises(UserError, match=r"s3://pictures/shards/train-002\.tar is missing, one of the 8 files"):
        opened("s3://pictures/shards/train-{000..007}.tar")
    with pytest.raises(UserError, match=r"images\.root: nothing://a/b: .*; use a path, or an address such as s3://"):
        opened("nothing://a/b")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(
        UserError, match=r"no credentials .*; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    ):
        opened("s3://pictures/shards/*.tar")


class ShortAnswers:
    """A file system that answers with too few bytes, some times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        self.times -= 1
        return bytes(end - start - (self.times >= 0))


def test_an_answer_of_another_length_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the storage sends no checksum."""
    monkeypatch.setattr("pipeline.data.sources.remote_storage.FIRST_WAIT", 0)
    file = StoredFile("bucket/a", 100, 1)
    for cache in (BlockCache(tmp_path, 10 * BLOCK_BYTES), BlockCache(tmp_path / "none", 0)):
        assert RemoteStorage(ShortAnswers(3), "s3", cache).read(file, 0, 100) == bytes(100)
    with pytest.raises(UserError, match=r"s3://bucket/b: failed 6 times, .* has 99 bytes instead of 100; run the same"):
        RemoteStorage(ShortAnswers(6), "s3", cache).read(StoredFile("bucket/b", 100, 1), 0, 100)


def test_a_password_is_not_saved_with_the_run() -> None:
    with pytest.raises(ValueError, match="has a password, which would be saved with the run"):
        ImagesConfig(source="folder", root="ftp://me:secret@host/images")
