"""Metrics for Prometheus, in a registry per server, so that two servers in one process do not mix."""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from pipeline.ui.web.guard import App, Message, Receive, Send

ROUTES = frozenset({"/", "/predict", "/model", "/healthz", "/metrics", "/openapi.json"})
SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters, gauges and histograms, all named `image_rlhf_...`, in addition to Python's and the process's own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._requests = Counter("image_rlhf_requests", "Requests answered.", ["route", "status"], registry=registry)
        self._seconds = Histogram(
            "image_rlhf_request_seconds",
            "From a request's headers to the end of its answer.",
            ["route"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._images = Counter("image_rlhf_images", "Images answered.", ["outcome"], registry=registry)
        self._batches = Histogram(
            "image_rlhf_batch_images", "Images computed together.", buckets=BATCH_BUCKETS, registry=registry
        )
        self._slow = Counter("image_rlhf_slow_connections", "Connections closed as too slow.", registry=registry)
        self._queue = Gauge("image_rlhf_queue_images", "Images taken and not answered yet.", registry=registry)
        self._bytes = Gauge("image_rlhf_waiting_bytes", "Bytes of requests not answered yet.", registry=registry)
        self._limit = Gauge("image_rlhf_memory_limit_bytes", "Most resident memory there should be.", registry=registry)
        for outcome in ("predicted", "refused"):  # created at 0, so that rates are defined from the start
            self._images.labels(outcome)

    def watch(self, images: Callable[[], int], waiting_bytes: Callable[[], int]) -> None:
        self._queue.set_function(images)
        self._bytes.set_function(waiting_bytes)

    def memory_limit(self, size: int) -> None:
        self._limit.set(size)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request; unknown paths share one label, so that clients cannot create any number of time series."""
        route = path if path in ROUTES else "/static" if path.startswith("/static/") else "other"
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answered(self, predicted: int, images: int) -> None:
        self._images.labels("predicted").inc(predicted)
        self._images.labels("refused").inc(images - predicted)

    def batch(self, images: int) -> None:
        self._batches.observe(images)

    def slow(self) -> None:
        self._slow.inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class MetricsMiddleware:
    """Outermost ASGI middleware, so that requests refused by the guard are counted as well."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), 500

        async def record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, record_status)
        finally:
            self.metrics.request(scope["path"], status, time.monotonic() - started)
