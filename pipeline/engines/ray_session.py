"""Start Ray on this machine, or connect to a cluster, and find out how many workers it has room for."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engines.ray_worker import Attempts
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.config import RuntimeConfig

ADDRESS = "RAY_ADDRESS"
OBJECT_STORE_BYTES = 512 * 2**20  # on this machine: a few blocks per worker; Ray's own default is 30 % of the memory
ROOT = Path(__file__).parents[2]  # from which workers on this machine import the project
PACKAGES = ("feedback_store", "pipeline", "stages")  # sent to a cluster
# Ray reads them when it is imported. Its own messages in C++ are about internals, and one of each run is a false alarm.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RaySession:
    """A connection to Ray.

    Attributes:
        workers: largest number of actors.
        initial_workers: actors that are started at once; a cluster may have room for more later.
        threads: CPU threads of each, which is what Ray reserves.
        device: of each.
    """

    workers: int
    initial_workers: int
    threads: int
    device: str

    @property
    def gpus_per_worker(self) -> int:
        return 1 if self.device == "cuda" else 0

    @staticmethod
    def put(value: Any) -> Any:
        """Store a value, pickled, once for all workers; returns the reference."""
        import ray
        from ray import cloudpickle

        return ray.put(cloudpickle.dumps(value))

    @staticmethod
    def attempts() -> Any:
        """A handle of a new actor `Attempts`; it ends when the handle is gone, and starts again, from 0, if its node is lost."""
        import ray

        return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts).remote()


@contextlib.contextmanager
def ray_session(runtime: RuntimeConfig) -> Iterator[RaySession]:
    """Connect to RAY_ADDRESS, or start Ray on this machine; both end with the context.

    If the program has initialised Ray already, that connection is used and kept.

    Raises:
        UserError: the cluster cannot be reached, or has no such device.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    started = not ray.is_initialized()
    try:
        if started:
            with _own_handler(), _without_stderr():
                _initialise(runtime)
        with _data_options():
            yield _session(runtime, ray.cluster_resources())
    finally:
        if started:
            ray.shutdown()


def _initialise(runtime: RuntimeConfig) -> None:
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    if address := os.environ.get(ADDRESS):
        try:
            ray.init(address, runtime_env={"py_modules": [str(ROOT / name) for name in PACKAGES]}, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{ADDRESS}={address}: {reason}; start the cluster, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as it "
                f"does, or unset {ADDRESS}"
            ) from None
        return
    cores = os.cpu_count() or 1
    with _inherited_path():
        ray.init(
            "local",
            num_cpus=max(cores, (runtime.ray_workers or 1) * _threads(runtime)),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            **quiet,
        )


def _threads(runtime: RuntimeConfig) -> int:
    return runtime.threads or 1


def _session(runtime: RuntimeConfig, resources: dict[str, float]) -> RaySession:
    """How many workers there may be, from `ray_workers` and what the cluster has."""
    gpus, threads = int(resources.get("GPU", 0)), _threads(runtime)
    if runtime.device == "cuda" and not gpus:
        raise UserError("runtime.device: the Ray cluster has no GPU; use auto or cpu")
    device = "cuda" if gpus and runtime.device in ("auto", "cuda") else "cpu"
    room = max(1, int(resources.get("CPU", 1)) // threads)
    if device == "cuda":
        room = min(room, gpus)
    workers = runtime.ray_workers or room
    if workers > room:
        _log.warning(
            "runtime.ray_workers=%d: Ray has room for %d; the others start when nodes are added", workers, room
        )
    return RaySession(workers, min(workers, room), threads, device)


@contextlib.contextmanager
def _data_options() -> Iterator[None]:
    """Ray Data gives blocks in their order, and shows no progress bars: the caller has one."""
    from ray.data import DataContext

    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    # Logs each lost block with a traceback, also while a signal ends everything; what cannot be repeated is raised.
    logging.getLogger("ray.data._internal.execution.streaming_executor_state").setLevel(logging.CRITICAL)
    context = DataContext.get_current()
    kept = context.execution_options.preserve_order, context.enable_progress_bars
    context.execution_options.preserve_order, context.enable_progress_bars = True, False
    try:
        yield
    finally:
        context.execution_options.preserve_order, context.enable_progress_bars = kept


@contextlib.contextmanager
def _inherited_path() -> Iterator[None]:
    """Processes that are started inside import this very project. A `runtime_env` would do so too, seconds later."""
    kept = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), kept]))
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if kept is not None:
            os.environ["PYTHONPATH"] = kept


@contextlib.contextmanager
def _own_handler() -> Iterator[None]:
    """Keep this program's handler of SIGTERM: Ray replaces it by one that ends the process without a message."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, kept)


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Leave out what Ray writes to the standard error stream, from C++, when it starts. Its errors are exceptions."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
