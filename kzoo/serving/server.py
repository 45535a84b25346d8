"""The server: from a folder of exports to a process that answers until it is told to end."""

import asyncio
import contextlib
import math
import os
from collections.abc import Iterable
from pathlib import Path
from types import NoneType
from typing import Any

from kzoo.arguments import boolean, instance, integer, path
from kzoo.choices import check_choice
from kzoo.serving.limits import Limits
from kzoo.serving.logs import FORMATS, logging_to_stdout
from kzoo.serving.runners import RUNTIMES
from kzoo.serving.settings import Settings, key_of_environment

_GRACE_SECONDS = 5  # to send what was answered at the last moment
_WATCH_SECONDS = 1.0
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def serve(
    directory: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    limits: Limits | None = None,
    watch: bool = False,
    versions: int | None = None,
    runtime: str | None = None,
    allow_hosts: Iterable[str] = (),
    allow_origins: Iterable[str] = (),
    log_format: str = "text",
) -> None:
    """Serves exports over HTTP until SIGTERM or SIGINT, then finishes the requests it has, each until its deadline.

    | route | what |
    |---|---|
    | `POST /v1/models/NAME:predict` | V1 protocol, as TensorFlow Serving |
    | `POST /v2/models/NAME/infer` | Open Inference Protocol, JSON or binary |
    | `GET /v1/models/NAME`, `/v2/models/NAME` | states and versions; inputs, outputs and class names |
    | `GET /v2/health/ready`, `/v2/health/live` | whether a model answers; whether the server lives |
    | `GET /` | a page for people, `{"status": "alive"}` for programs |
    | `GET /docs` | what there is to ask |
    | `GET /metrics` | counters for Prometheus |

    Neither Keras nor a backend is imported. What was exported for OpenVINO or ONNX Runtime is run by it, a SavedModel
    by OpenVINO. Requests that wait are computed together. The environment variable `KZOO_API_KEY` holds the key that
    requests must bring; there must be one where others than this machine can ask.

    Args:
        directory: Path of an export, of the folder of its versions, or of many models (`NAME/VERSION/`).
        host: Address to listen at. Defaults to `"127.0.0.1"`, this machine alone.
        port: Integer. Defaults to `8080`.
        limits: The `Limits` of requests. Defaults to `Limits()`.
        watch: Boolean, whether versions that come later are loaded and those that go are let go. Defaults to `False`.
        versions: Integer, how many of the newest versions of each model to load. Defaults to `None`, all.
        runtime: `"openvino"`, `"onnxruntime"`, `"litert"` or `"tensorflow"`. Defaults to `None`, the best for what was
            exported.
        allow_hosts: Names by which the server may be asked, beside `localhost` and addresses. Defaults to none.
        allow_origins: Origins whose pages may ask it, such as `"https://example.org"`. Defaults to none.
        log_format: `"text"` or `"json"`, of the line that each request is logged with. Defaults to `"text"`.

    Raises:
        FileNotFoundError: If there is no such export.
        ImportError: If a package of the extra `serve` is not installed, or no runtime is.
        OSError: If the address is none of this machine's, or the port is taken.
        ValueError: If an argument is none of those above, others could ask without a key, or no export can be loaded.

    Example:
        >>> kzoo.serve("exports/digits", port=8080)  # until it is ended  # doctest: +SKIP
    """
    directory = path(directory, "directory")
    instance(limits, "limits", (Limits, NoneType), "a kzoo.serving.Limits, or None")
    settings = Settings(host, port, allow_hosts, allow_origins, key_of_environment())  # type: ignore[arg-type]
    versions = versions if versions is None else integer(versions, "versions", least=1)
    if runtime is not None:
        check_choice("runtime", runtime, RUNTIMES)
    check_choice("log_format", log_format, FORMATS)
    watch = boolean(watch, "watch")
    settings.check_free()
    settings.check_reach()
    _check_installed()
    with logging_to_stdout(log_format):
        asyncio.run(_run(directory, settings, limits or Limits(), watch, versions, runtime))


async def _run(
    directory: Path, settings: Settings, limits: Limits, watch: bool, versions: int | None, runtime: str | None
) -> None:
    import uvicorn

    from kzoo.serving.answers import Service
    from kzoo.serving.app import application
    from kzoo.serving.connections import limited
    from kzoo.serving.metrics import Metrics
    from kzoo.serving.predicting import Predictions
    from kzoo.serving.repository import Repository

    threads, metrics = usable_cores(), Metrics()
    repository = Repository(directory, limits, metrics, threads=threads, versions=versions, runtime=runtime)
    predictions = Predictions(limits, metrics, threads)
    try:
        await repository.open()
        service = Service(repository, predictions, limits, metrics)
        config: Any = {"http": limited(limits), "ws": "none", "lifespan": "off", "log_config": None}
        config["proxy_headers"] = False  # anyone on this machine could say to be somebody else
        server = uvicorn.Server(
            uvicorn.Config(
                application(service, settings),
                settings.host,
                settings.port,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=grace_seconds(limits),
                **config,
            )
        )
        names = ", ".join(f"{name} ({', '.join(map(str, numbers))})" for name, numbers in repository.models.items())
        print(f"Serving {names} at {_url(settings)}", flush=True)  # noqa: T201
        watching = asyncio.create_task(repository.watch(_WATCH_SECONDS)) if watch else None
        await server.serve()
        if watching is not None:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
    finally:
        await repository.close()
        predictions.close()


def grace_seconds(limits: Limits) -> int:
    """Returns how long a server that is told to end waits for its requests: none is dropped before its deadline."""
    return math.ceil(limits.deadline_seconds) + _GRACE_SECONDS


def _url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def usable_cores() -> int:
    """Returns how many cores this process may use; in a container with a quota no more than that."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # there is none, or its quota is "max"
        quota, period = _CPU_QUOTA.read_text().split()
        cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    return cores


def _check_installed() -> None:
    try:
        import httptools
        import prometheus_client
        import starlette
        import uvicorn
    except ImportError as error:
        raise ImportError(f"Serving needs {error.name}. Received: {error}. Install 'kzoo[serve]'.") from error
    del httptools, prometheus_client, starlette, uvicorn
