"""The server of predictions over small random networks, in a thread of the test's process."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import uvicorn
import yaml

from benchmarks.untrained import make_untrained
from pipeline.config import Config, load_config
from pipeline.ui.web.connections import ConnectionLimits
from stages.serve.app import ServerState, make_app
from stages.serve.engine import Engine
from stages.serve.metrics import Metrics
from stages.serve.run import load, read_token

SIZE = 32
CLASSES = ("ant", "bee", "wasp")


def make_served(folder: Path, classes: tuple[str, ...] = CLASSES, reference: bool = True, **settings: object) -> Config:
    """A run in `folder` with a policy and, unless told otherwise, a reference; settings are those of `serve`."""
    tree = {
        "name": "served",
        "runs": str(folder / "runs"),
        "images": {"root": str(folder), "size": SIZE},
        "model": {"backbone": "squeezenet1_1", "weights": "none"},
        "runtime": {"device": "cpu", "threads": 1},
        "serve": {"port": 0, **settings},
    }
    path = folder / "served.yaml"
    path.write_text(yaml.safe_dump(tree))
    config = load_config(path)
    make_untrained(config, classes, reference=reference)
    return config


def desk_of(config: Config, token: str | None = None) -> ServerState:
    """What the application works with; its engine is to be closed."""
    metrics = Metrics()
    engine = Engine(*load(config), config.serve, metrics)
    return ServerState(config.name, engine, metrics, config.serve, token or read_token())


class Live:
    """The application on a free port, in a thread of this process."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.patience = ConnectionLimits(state.settings.read_seconds, state.settings.connections, state.metrics.slow)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.server = uvicorn.Server(
            uvicorn.Config(
                make_app(state),
                log_level="error",
                access_log=False,
                ws="none",
                http=self.patience.protocol(),
                timeout_graceful_shutdown=5,
            )
        )
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]})
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.01)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)
