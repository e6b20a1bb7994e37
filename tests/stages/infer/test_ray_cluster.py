"""`infer --engine ray` on a cluster of two nodes that RAY_ADDRESS names, both on this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support.installed import needs_packages
from support.untrained_runs import noise_images, untrained_run

from pipeline.config import Config, dump_config

pytestmark = [pytest.mark.long, needs_packages("ray")]
ROOT = Path(__file__).resolve().parents[3]
RAY = Path(sys.executable).with_name("ray")
UNSHARE = shutil.which("unshare")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Cluster:
    """Nodes of one CPU each. `ray stop` would end every Ray of this machine, so the processes are ended one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
            "RAY_AUTH_MODE": "token",  # without one, everybody on this machine could run code here
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(folder),
        }
        self._nodes: list[subprocess.Popen[bytes]] = []

    def start(self, *options: str, before: tuple[str, ...] = ()) -> None:
        limits = ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats", "--block"]
        log = self.folder / f"{len(self._nodes)}.log"
        with log.open("wb") as file:
            command = [*before, str(RAY), "start", *options, *limits]
            node = subprocess.Popen(command, env=self.environment, stdout=file, stderr=file, cwd=self.folder)
        self._nodes.append(node)
        end = time.monotonic() + 120
        while "block forever" not in log.read_text():
            assert node.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)

    def close(self) -> None:
        processes = [one for node in self._nodes for one in [*psutil.Process(node.pid).children(True), node]]
        for process in processes:
            process.kill()
        for node in self._nodes:
            node.wait()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # a socket's path has at most 107 characters: tmp_path is too long
    one = Cluster(folder)
    one.start("--head", f"--port={one.port}", "--include-dashboard=false", f"--temp-dir={folder}")
    yield one
    one.close()
    shutil.rmtree(folder)


@pytest.fixture
def infer(cluster: Cluster, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(config: Config, engine: str, output: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "c.yaml").write_text(dump_config(config))
        command = ["-m", "stages.cli", "infer", "--config", "c.yaml", "--engine", engine, "--output", output, "some"]
        return subprocess.run(
            [sys.executable, *command],
            env=cluster.environment | {"RAY_ADDRESS": f"127.0.0.1:{cluster.port}", "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return run


def test_a_cluster_computes_the_same_file_or_says_which_node_lacks_an_image(
    cluster: Cluster, infer: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The nodes have neither this project on their path nor the model; then one node has another folder of images."""
    images = noise_images(tmp_path / "some", 60)
    (images / "0005.png").write_bytes(b"no image")
    config = untrained_run(tmp_path, batch_size=4)
    config = config.model_copy(update={"runtime": config.runtime.model_copy(update={"threads": 1})})
    (tmp_path / "hidden").mkdir()
    for engine in ("local", "ray"):
        done = infer(config, engine, f"{engine}.csv")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()
    assert (tmp_path / "ray.bad.csv").read_bytes() == (tmp_path / "local.bad.csv").read_bytes()
    if not UNSHARE or subprocess.run([UNSHARE, "-m", "true"], check=False).returncode:
        pytest.skip("unshare -m is not permitted here: no node can be given other files")
    hide = f'mount --bind {tmp_path}/hidden {images} && exec "$@"'
    cluster.start(f"--address=127.0.0.1:{cluster.port}", before=(UNSHARE, "-m", "sh", "-c", hide, "sh"))
    done = infer(config, "ray", "two.csv")
    assert done.returncode == 2, done.stderr
    assert "it is here, but node" in done.stderr
    assert "some/0" in done.stderr
    assert not (tmp_path / "two.csv").exists()
