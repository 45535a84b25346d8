"""What is counted, for Prometheus."""

from typing import Any

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one server, in a register of its own.

    | metric | what |
    |---|---|
    | `kzoo_requests_total` | requests, by `route`, `model`, `version` and `status` |
    | `kzoo_request_seconds` | histogram of the time from the first byte of a request's headers to its answer |
    | `kzoo_images_total` | images that were asked about |
    | `kzoo_requests_in_progress` | requests for predictions that wait or are computed now |
    | `kzoo_batch_images`, `kzoo_batch_requests` | histograms of what was computed at once |
    | `kzoo_model_loaded` | 1 for each version that answers |
    | `process_*`, `python_*` | memory, descriptors, processor time of the server |
    """

    def __init__(self) -> None:
        import prometheus_client as client

        self._client = client
        self._register = client.CollectorRegistry()
        client.ProcessCollector(registry=self._register)
        client.PlatformCollector(registry=self._register)
        labels = ["route", "model", "version"]
        self._requests = self._made(client.Counter, "kzoo_requests", "Requests.", [*labels, "status"])
        self._seconds = self._made(client.Histogram, "kzoo_request_seconds", "Seconds.", labels, buckets=_SECONDS)
        self._images = self._made(client.Counter, "kzoo_images", "Images that were asked about.", ["model", "version"])
        self._progress = self._made(client.Gauge, "kzoo_requests_in_progress", "Predictions that wait or compute.")
        self._batch_images = self._made(client.Histogram, "kzoo_batch_images", "Images at once.", buckets=_IMAGES)
        self._batch_requests = self._made(client.Histogram, "kzoo_batch_requests", "Requests at once.", buckets=_IMAGES)
        self._loaded = self._made(client.Gauge, "kzoo_model_loaded", "Versions that answer.", ["model", "version"])

    def _made(self, kind: Any, name: str, help: str, labels: list[str] | None = None, **settings: Any) -> Any:  # noqa: A002
        return kind(name, help, labels or [], registry=self._register, **settings)

    def request(self, route: str, model: str, version: str, status: int, seconds: float, images: int) -> None:
        """Counts an answer; the model is empty where there is none of that name, or none was asked."""
        self._requests.labels(route, model, version, str(status)).inc()
        self._seconds.labels(route, model, version).observe(seconds)
        if images:
            self._images.labels(model, version).inc(images)

    def batch(self, images: int, requests: int) -> None:
        """Counts what is computed at once."""
        self._batch_images.observe(images)
        self._batch_requests.observe(requests)

    def in_progress(self, requests: int) -> None:
        """Says how many predictions wait or are computed now."""
        self._progress.set(requests)

    def loaded(self, model: str, version: str) -> None:
        """Says that a version answers from now on."""
        self._loaded.labels(model, version).set(1)

    def unloaded(self, model: str, version: str) -> None:
        """Forgets a version, and what was counted of it stays."""
        self._loaded.remove(model, version)

    def text(self) -> tuple[bytes, str]:
        """Returns what Prometheus reads, and its type."""
        return self._client.generate_latest(self._register), self._client.CONTENT_TYPE_LATEST
